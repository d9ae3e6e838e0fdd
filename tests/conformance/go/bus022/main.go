// Command bus022 is a message bus peer of version 0.1.22.
package main

import (
	p2p "github.com/bsv-blockchain/go-p2p-message-bus"

	"peerage.invalid/conformance/bus"
)

func main() {
	bus.Main(func(config *p2p.Config, static []string) error {
		config.StaticPeers = static
		return nil
	})
}
