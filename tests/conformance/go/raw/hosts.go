package main

import (
	"context"
	"errors"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"peerage.invalid/conformance/line"
)

// crowd connects count further hosts of this process to the address, each with its own identity
// and router, subscribed to the topics of the configuration: subscribers by the dozen at the price
// of one process. They stay until the process ends.
func (p *rawPeer) crowd(address string, count int) (line.Event, error) {
	if count < 1 {
		return nil, errors.New("a crowd of nobody")
	}
	for range count {
		if err := p.addHost(address); err != nil {
			return nil, err
		}
	}
	return line.Event{"hosts": count}, nil
}

func (p *rawPeer) addHost(address string) error {
	key, err := keyOf("")
	if err != nil {
		return err
	}
	h, err := newHost(Config{Listen: "none"}, key)
	if err != nil {
		return err
	}
	router, err := pubsub.NewGossipSub(context.Background(), h)
	if err != nil {
		return err
	}
	for _, name := range p.topics {
		topic, err := router.Join(name)
		if err != nil {
			return err
		}
		subscription, err := topic.Subscribe()
		if err != nil {
			return err
		}
		go func() {
			for {
				if _, err := subscription.Next(context.Background()); err != nil {
					return
				}
			}
		}()
	}
	info, err := addrInfo(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return h.Connect(ctx, *info)
}
