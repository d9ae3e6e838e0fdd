// Package line is what every Go peer of the conformance tests shares: a line of JSON in for each
// command, a line of JSON out for each event, and the process's own consumption.
package line

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Event is one line of output. The member "event" names it.
type Event map[string]any

var (
	outMu sync.Mutex
	out   = bufio.NewWriterSize(os.Stdout, 1<<16)
)

// Emit writes one event and flushes it.
func Emit(name string, fields Event) {
	line := Event{"event": name}
	for k, v := range fields {
		line[k] = v
	}
	text, err := json.Marshal(line)
	if err != nil {
		fmt.Fprintf(os.Stderr, "event %s does not encode: %v\n", name, err)
		os.Exit(3)
	}
	outMu.Lock()
	defer outMu.Unlock()
	_, _ = out.Write(text)
	_ = out.WriteByte('\n')
	if out.Flush() != nil {
		os.Exit(0) // the reader is gone
	}
}

// NowMicros is the unix time in microseconds, the unit of every member "t_us".
func NowMicros() int64 { return time.Now().UnixMicro() }

// Command is one line of input. Raw is the whole line, for members that only one command has.
type Command struct {
	Cmd string `json:"cmd"`
	ID  int64  `json:"id"`
	Raw json.RawMessage
}

// Decode reads the members of the command that into names.
func (c Command) Decode(into any) error { return json.Unmarshal(c.Raw, into) }

// Done answers a command; fields may be nil.
func (c Command) Done(fields Event) {
	answer := Event{"cmd": c.Cmd, "id": c.ID}
	for k, v := range fields {
		answer[k] = v
	}
	Emit("done", answer)
}

// Fail answers a command that did not work.
func (c Command) Fail(err error) {
	Emit("failed", Event{"cmd": c.Cmd, "id": c.ID, "message": err.Error()})
}

// Input is the stream of commands; its first line is the configuration.
type Input struct{ lines *bufio.Reader }

// NewInput reads standard input.
func NewInput() *Input { return &Input{lines: bufio.NewReaderSize(os.Stdin, 1<<16)} }

// Config reads the first line into the given structure. An unknown member is an error, so that a
// misspelled option never passes for a default.
func (in *Input) Config(into any) error {
	text, err := in.lines.ReadBytes('\n')
	if err != nil && len(text) == 0 {
		return fmt.Errorf("no configuration line on standard input: %w", err)
	}
	return strict(text, into)
}

// Next gives the next command, or io.EOF when the test has gone or closed the stream.
func (in *Input) Next() (Command, error) {
	text, err := in.lines.ReadBytes('\n')
	if len(text) == 0 {
		if err == nil {
			err = io.EOF
		}
		return Command{}, err
	}
	command := Command{}
	if jsonErr := json.Unmarshal(text, &command); jsonErr != nil {
		return Command{}, fmt.Errorf("command is not JSON: %w", jsonErr)
	}
	command.Raw = text
	return command, nil
}

func strict(text []byte, into any) error {
	decoder := json.NewDecoder(bytesReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// Fatal reports an error as an event and on standard error, and ends the process.
func Fatal(err error) {
	Emit("fatal", Event{"message": err.Error()})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// Serve runs handle for each command until standard input closes or "stop" comes.
func (in *Input) Serve(handle func(Command)) {
	for {
		command, err := in.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			Emit("failed", Event{"message": err.Error()})
			continue
		}
		if command.Cmd == "stop" {
			command.Done(nil)
			return
		}
		handle(command)
	}
}
