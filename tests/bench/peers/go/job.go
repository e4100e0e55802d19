package main

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// spinTime returns the milliseconds of `spin N`, N of one to nine digits.
func spinTime(line []byte) (int, bool) {
	if len(line) < 6 || len(line) > 14 || string(line[:5]) != "spin " {
		return 0, false
	}
	ms := 0
	for _, c := range line[5:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		ms = ms*10 + int(c-'0')
	}
	return ms, true
}

// appendReply appends the reply to line, newline included.
func appendReply(reply, line []byte) []byte {
	if ms, ok := spinTime(line); ok {
		for start := time.Now(); time.Since(start) < time.Duration(ms)*time.Millisecond; {
		}
		reply = append(reply, "result: spun "...)
		reply = strconv.AppendInt(reply, int64(ms), 10)
		return append(reply, " ms\n"...)
	}
	digest := sha256.Sum256(line)
	var digits [2 * sha256.Size]byte
	hex.Encode(digits[:], digest[:])
	reply = append(reply, "result: "...)
	reply = append(reply, digits[:]...)
	return append(reply, '\n')
}
