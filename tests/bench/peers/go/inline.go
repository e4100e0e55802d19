//go:build inline

package main

import (
	"bufio"
	"bytes"
	"net"
)

// The scheduler is the pool: no more goroutines run at once than GOMAXPROCS.
func startWorkers(int) {}

func serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	w := bufio.NewWriter(conn)
	var line, reply []byte
	for {
		// Flush before a read that may wait.
		if buffered, _ := r.Peek(r.Buffered()); bytes.IndexByte(buffered, '\n') < 0 {
			if w.Flush() != nil {
				return
			}
		}
		var err error
		if line, err = readLine(r, line[:0]); err != nil {
			return
		}
		reply = appendReply(reply[:0], line)
		if _, err = w.Write(reply); err != nil {
			return
		}
	}
}
