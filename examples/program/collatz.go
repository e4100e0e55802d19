// Counts the steps that a number takes to 1 (Collatz), for as many numbers as the request has:
//
//	go build -o collatz examples/program/collatz.go
//	pool-server --program-protocol frames --program ./collatz
//
// A request comes as a frame, and its reply goes as one: see pool-server-program(7).
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func steps(n uint64) (count int, err error) {
	for ; n != 1; count++ {
		if n%2 == 0 {
			n /= 2
		} else if n > (1<<64-2)/3 {
			return 0, fmt.Errorf("it grows beyond 64 bits")
		} else {
			n = 3*n + 1
		}
	}
	return count, nil
}

func answer(request string) (string, error) {
	var counts []string
	for _, word := range strings.Fields(request) {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil || n == 0 {
			return "", fmt.Errorf("%q is no number from 1 on", word)
		}
		count, err := steps(n)
		if err != nil {
			return "", fmt.Errorf("%d: %w", n, err)
		}
		counts = append(counts, strconv.Itoa(count))
	}
	return strings.Join(counts, " "), nil
}

func main() {
	requests, replies := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	header := make([]byte, 8)
	for {
		if _, err := io.ReadFull(requests, header); err != nil {
			return // the server has no more
		}
		text := make([]byte, binary.BigEndian.Uint32(header))
		if _, err := io.ReadFull(requests, text); err != nil {
			return
		}
		outcome := byte(0)
		reply, err := answer(string(text))
		if err != nil {
			outcome, reply = 1, err.Error()
		}
		var start [9]byte
		binary.BigEndian.PutUint32(start[:4], uint32(len(reply)))
		copy(start[4:8], header[4:])
		start[8] = outcome
		replies.Write(start[:])
		replies.WriteString(reply)
		if replies.Flush() != nil {
			return
		}
	}
}
