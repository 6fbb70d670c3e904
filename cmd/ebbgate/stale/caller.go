package stale

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/wire"
)

// caller asks one server over one connection, one request after the other, and none
// twice: net/http would repeat what a closed connection has lost, and hide it.
type caller struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
	used    time.Time // when the last answer came
}

const (
	answerTime = 30 * time.Second // bounds a request
	idleTime   = 2 * time.Second  // Varnish closes a connection that was idle for five
)

// ask sends one request. The answer has status 0 if none came; the next request then
// goes over a new connection.
func (c *caller) ask(path string) answer {
	a := answer{path: path}
	if time.Since(c.used) > idleTime {
		c.close()
	}
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, answerTime)
		if err != nil {
			a.asked = time.Now().UnixNano()
			a.answered = a.asked
			return a
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	request := "GET " + path + " HTTP/1.1\r\nHost: www.example.com\r\n\r\n"
	a.asked = time.Now().UnixNano()
	err := c.conn.SetDeadline(time.Now().Add(answerTime))
	if err == nil {
		_, err = io.WriteString(c.conn, request)
	}
	if err == nil {
		err = c.read(&a)
	}
	c.used = time.Now()
	a.answered = c.used.UnixNano()
	if err != nil {
		a.status = 0
		c.close()
	}
	return a
}

// read takes one answer in.
func (c *caller) read(a *answer) error {
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	resp.Body.Close()
	if err != nil {
		return err
	}
	if resp.Close {
		c.close()
	}
	a.status = resp.StatusCode
	a.hit = resp.Header.Get(cacheHeader) == "hit"
	if a.status != http.StatusOK {
		return nil
	}
	gen, err := wire.ParseGeneration(resp.Header.Get("X-Ebbgate-Gen"))
	if err != nil {
		return err
	}
	a.epoch = gen.Epoch
	version, _, _ := strings.Cut(resp.Header.Get("X-Ebbgate-Release"), "-")
	a.torn = string(body) != page(version)
	return nil
}

// page is the body of every page of a version: a cache that puts new headers to an old
// body is found out.
func page(version string) string { return fmt.Sprintf("version %s\n", version) }

func (c *caller) close() {
	if c.conn != nil {
		c.conn.Close()
	}
	c.conn, c.in = nil, nil
}
