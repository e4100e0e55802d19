//go:build !inline

package main

import (
	"bufio"
	"net"
	"sync"
)

// Requests of one connection at work, beyond which it is not read from.
const maxPending = 128

type task struct {
	line  []byte
	reply []byte
	done  chan struct{}
}

var tasks = sync.Pool{New: func() any { return &task{done: make(chan struct{}, 1)} }}

var queue = make(chan *task, 1024)

func startWorkers(count int) {
	for i := 0; i < count; i++ {
		go func() {
			for t := range queue {
				t.reply = appendReply(t.reply[:0], t.line)
				t.done <- struct{}{}
			}
		}()
	}
}

func serve(conn net.Conn) {
	pending := make(chan *task, maxPending)
	go func() {
		defer conn.Close()
		writeReplies(conn, pending)
	}()
	defer close(pending)
	r := bufio.NewReader(conn)
	for {
		t := tasks.Get().(*task)
		var err error
		if t.line, err = readLine(r, t.line[:0]); err != nil {
			tasks.Put(t)
			return
		}
		pending <- t
		queue <- t
	}
}

// writeReplies writes in the order of the requests, and flushes before it waits for anything.
func writeReplies(conn net.Conn, pending <-chan *task) {
	w := bufio.NewWriter(conn)
	// A failed write makes the reader fail; the writer keeps its error and only collects the rest.
	flush := func() {
		if w.Flush() != nil {
			conn.Close()
		}
	}
	defer flush()
	for {
		var t *task
		var ok bool
		select {
		case t, ok = <-pending:
		default:
			flush()
			t, ok = <-pending
		}
		if !ok {
			return
		}
		select {
		case <-t.done:
		default:
			flush()
			<-t.done
		}
		w.Write(t.reply)
		tasks.Put(t)
	}
}
