// Command bus017 is a message bus peer of version 0.1.7, the one the test vectors are of.
package main

import (
	"errors"

	p2p "github.com/bsv-blockchain/go-p2p-message-bus"

	"peerage.invalid/conformance/bus"
)

func main() {
	bus.Main(func(*p2p.Config, []string) error { return errors.New("version 0.1.7 has no static peers") })
}
