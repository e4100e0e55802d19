// A client of pool-server: a pool of connections, requests sent ahead, time-outs, and further tries.
//
//	result, err := NewPool("localhost:9090", 10*time.Second, 4).Ask("good data")
//
// pool-server(7) has the reasons. `go run poolclient.go ADDRESS [TIMEOUT [SIZE]]` answers the lines of its input.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	pipeline   = 16    // requests ahead on one connection
	maxLine    = 65536 // as --max-line
	maxReply   = 65536 // as --max-reply
	mostBreaks = 5     // a request may be what ends the server: it is not sent for ever
	mostLate   = 4     // a connection on which so many replies are owed to nobody any more is given up
)

var (
	notNow = map[string]bool{"server busy": true, "waited too long": true, "no worker available": true}
	// Said of a connection, which is closed then: nothing that is still owed on it has been run.
	lastWords = map[string]bool{"too many connections": true, "too many connections from this client": true,
		"idle for too long": true, "request not completed in time": true}

	ErrCannotBeSent = errors.New("that is empty, STATS, more than a line, ends with a CR, or is too long")
	ErrTimeout      = errors.New("no result in time")
	ErrBroken       = errors.New("the connection broke")
	errNotNow       = errors.New("not now")
)

// ServerError is a reply that is an error, and would be again.
type ServerError string

func (e ServerError) Error() string { return string(e) }

type outcome struct {
	text string
	err  error
}

// A request on its way. It gets one outcome, and has room for it when nobody waits any more.
type request struct {
	line    string
	outcome chan outcome
	on      atomic.Pointer[connection] // on which somebody waits for the reply
}

// A connection gives replies to requests in the order in which these were sent, whether anybody still waits or not.
type connection struct {
	net.Conn
	owed chan *request // no more than it has room for
	late atomic.Int32
}

// reset makes the server not go on with what nobody waits for.
func (c *connection) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

// Pool has connections to HOST:PORT or the /PATH of a unix socket, made when they are needed.
type Pool struct {
	network, address string
	timeout          time.Duration
	queue            chan *request
}

func NewPool(address string, timeout time.Duration, size int) *Pool {
	rand.Seed(time.Now().UnixNano()) // which Go does by itself from 1.20 on
	p := &Pool{"tcp", address, timeout, make(chan *request)}
	if strings.HasPrefix(address, "/") {
		p.network = "unix"
	}
	for i := 0; i < size; i++ {
		go p.serve()
	}
	return p
}

// delay before the next try: ever more, and not the same for all that were refused at once.
func delay(tries int) time.Duration {
	longest := 2 * time.Second
	if tries < 6 {
		longest = 50 * time.Millisecond << tries
	}
	return longest/2 + time.Duration(rand.Int63n(int64(longest/2)))
}

// Ask returns the result; or a ServerError, ErrTimeout, ErrBroken, ErrCannotBeSent.
func (p *Pool) Ask(text string) (string, error) {
	if text == "" || text == "STATS" || len(text) > maxLine ||
		strings.Contains(text, "\n") || strings.HasSuffix(text, "\r") {
		return "", ErrCannotBeSent
	}
	over := time.NewTimer(p.timeout)
	defer over.Stop()
	for tries, breaks := 0, 0; ; tries++ {
		r := &request{line: text + "\n", outcome: make(chan outcome, 1)}
		select {
		case p.queue <- r:
		case <-over.C:
			return "", ErrTimeout
		}
		select {
		case got := <-r.outcome:
			if got.err == ErrBroken {
				breaks++
			}
			if got.err != errNotNow && (got.err != ErrBroken || breaks == mostBreaks) {
				return got.text, got.err
			}
		case <-over.C:
			if c := r.on.Swap(nil); c != nil && c.late.Add(1) >= mostLate {
				c.reset()
			}
			return "", ErrTimeout
		}
		select {
		case <-time.After(delay(tries)):
		case <-over.C:
			return "", ErrTimeout
		}
	}
}

// serve keeps one connection at a time, from when there is something to send.
func (p *Pool) serve() {
	for failures := 0; ; failures++ { // connections in a row that came to nothing
		if failures > 0 {
			time.Sleep(delay(failures))
		}
		first := <-p.queue
		conn, err := net.DialTimeout(p.network, p.address, p.timeout)
		if err != nil {
			first.outcome <- outcome{"", errNotNow}
			continue
		}
		c := &connection{Conn: conn, owed: make(chan *request, pipeline)}
		if c.exchange(first, p.queue) {
			failures = -1
		}
	}
}

// exchange sends what there is to send until the connection has ended, and tells whether there was any reply.
func (c *connection) exchange(r *request, queue <-chan *request) (proved bool) {
	var why error
	ended := make(chan struct{})
	go func() {
		proved, why = c.receive()
		c.reset()
		close(ended)
	}()
	for open := true; open; {
		select {
		case c.owed <- r:
			r.on.Store(c)
			c.Write([]byte(r.line)) // should that fail, receive() will know
		case <-ended:
			r.outcome <- outcome{"", errNotNow}
		}
		select {
		case r = <-queue:
		case <-ended:
			open = false
		}
	}
	close(c.owed)
	for r := range c.owed {
		r.outcome <- outcome{"", why}
	}
	return proved
}

// receive returns at the end of the connection, with what that means to those who are still owed a reply.
func (c *connection) receive() (proved bool, why error) {
	lines := bufio.NewReaderSize(c, len("result: \n")+maxReply)
	for ; ; proved = true {
		line, err := lines.ReadSlice('\n')
		kind, text, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), ": ")
		if err != nil || kind != "result" && kind != "ERROR" {
			return proved, ErrBroken
		}
		if kind == "ERROR" && lastWords[text] {
			return proved, errNotNow
		}
		select {
		case r := <-c.owed:
			if r.on.Swap(nil) == nil {
				c.late.Add(-1)
			}
			if kind == "result" {
				r.outcome <- outcome{text, nil}
			} else if notNow[text] {
				r.outcome <- outcome{"", errNotNow}
			} else {
				r.outcome <- outcome{"", ServerError(text)}
			}
		default:
			return proved, ErrBroken // nothing was asked
		}
	}
}

func main() {
	timeout, size := 10*time.Second, 4
	if len(os.Args) > 2 {
		timeout, _ = time.ParseDuration(os.Args[2] + "s")
	}
	if len(os.Args) > 3 {
		size, _ = strconv.Atoi(os.Args[3])
	}
	p, answers := NewPool(os.Args[1], timeout, size), make(chan chan string, 100)
	go func() {
		input := bufio.NewReader(os.Stdin)
		for line, _ := input.ReadString('\n'); line != ""; line, _ = input.ReadString('\n') {
			text, answer := strings.TrimSuffix(line, "\n"), make(chan string, 1)
			answers <- answer
			go func() {
				result, err := p.Ask(text)
				if _, ok := err.(ServerError); ok {
					answer <- "ERROR: " + err.Error()
				} else if err != nil {
					answer <- "FAILED: " + err.Error()
				} else {
					answer <- "result: " + result
				}
			}()
		}
		close(answers)
	}()
	for answer := range answers {
		fmt.Println(<-answer)
	}
}
