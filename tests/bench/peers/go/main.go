// A goroutine per connection, the way net/http does it. The work is done by a fixed pool of
// goroutines (pool.go), or, with the build tag inline, by the connection's own (inline.go).
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

const maxLine = 64 * 1024

// readLine appends the next line, without its newline, to line. A reader's buffer is smaller than
// the longest line allowed, for the sake of the many connections that never send one.
func readLine(r *bufio.Reader, line []byte) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			line = line[:len(line)-1]
		} else if err != bufio.ErrBufferFull {
			return line, err
		}
		if len(line) > maxLine {
			return line, bufio.ErrTooLong
		}
		if err == nil {
			return line, nil
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func main() {
	workers := 0
	if len(os.Args) == 3 {
		workers, _ = strconv.Atoi(os.Args[2])
	}
	if workers < 1 {
		fmt.Fprintf(os.Stderr, "usage: %s PORT WORKERS\n", os.Args[0])
		os.Exit(2)
	}
	// net sets SO_REUSEADDR, takes the system's largest backlog and sets TCP_NODELAY by itself.
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", os.Args[1]))
	if err != nil {
		fail(err)
	}
	startWorkers(workers)
	for {
		conn, err := listener.Accept()
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			time.Sleep(5 * time.Millisecond)
		} else if err != nil {
			fail(err)
		} else {
			go serve(conn)
		}
	}
}
