package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"peerage.invalid/conformance/line"
)

// router is the stock router, for what may be done with it: any payload, any signer, any size.
type router struct {
	pubsub *pubsub.PubSub
	mu     sync.Mutex
	topics map[string]*pubsub.Topic
	joined map[string]*pubsub.Subscription
}

func newRouter(p *rawPeer, config Config) (*router, error) {
	options := []pubsub.Option{}
	if config.MaxMessageSize > 0 {
		options = append(options, pubsub.WithMaxMessageSize(config.MaxMessageSize))
	}
	if config.Aloof {
		options = append(options, aloof()...)
	}
	if config.Score {
		p.scores = &scores{worst: map[peer.ID]float64{}}
		options = append(options, p.scores.scoring(config.Topics)...)
	}
	var ps *pubsub.PubSub
	var err error
	switch config.Mode {
	case "", "gossipsub":
		ps, err = pubsub.NewGossipSub(context.Background(), p.host, options...)
	case "floodsub":
		ps, err = pubsub.NewFloodSub(context.Background(), p.host, options...)
	default:
		err = fmt.Errorf("mode %q is none of gossipsub, floodsub, frames", config.Mode)
	}
	if err != nil {
		return nil, err
	}
	r := &router{pubsub: ps, topics: map[string]*pubsub.Topic{}, joined: map[string]*pubsub.Subscription{}}
	for _, name := range config.Topics {
		if err := r.join(p, name); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *router) join(p *rawPeer, name string) error {
	topic, err := r.topic(name)
	if err != nil {
		return err
	}
	subscription, err := topic.Subscribe()
	if err != nil {
		return err
	}
	r.joined[name] = subscription
	go p.read(subscription)
	return nil
}

// changeTopic subscribes to a topic, or unsubscribes from it.
func (p *rawPeer) changeTopic(name string, join bool) error {
	if p.router == nil {
		return errors.New("mode frames has no router; use rpc")
	}
	subscription, joined := p.router.joined[name]
	if joined == join {
		return fmt.Errorf("topic %s is joined or left already", name)
	}
	if join {
		return p.router.join(p, name)
	}
	delete(p.router.joined, name)
	subscription.Cancel()
	return nil
}

// topic joins a topic once.
func (r *router) topic(name string) (*pubsub.Topic, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if topic, ok := r.topics[name]; ok {
		return topic, nil
	}
	topic, err := r.pubsub.Join(name)
	if err != nil {
		return nil, err
	}
	r.topics[name] = topic
	events, err := topic.EventHandler()
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			event, err := events.NextPeerEvent(context.Background())
			if err != nil {
				return
			}
			kind := "subscribed"
			if event.Type == pubsub.PeerLeave {
				kind = "unsubscribed"
			}
			line.Emit(kind, line.Event{"topic": name, "peer": event.Peer.String()})
		}
	}()
	return topic, nil
}

// read reports whole payloads as they are on the wire, the envelope taken apart as well where
// there is one.
func (p *rawPeer) read(subscription *pubsub.Subscription) {
	for {
		message, err := subscription.Next(context.Background())
		if err != nil {
			return
		}
		author, err := peer.IDFromBytes(message.From)
		if err != nil || author == p.host.ID() {
			continue
		}
		envelope := struct {
			Name string `json:"name"`
			Data []byte `json:"data"`
		}{}
		hasEnvelope := json.Unmarshal(message.Data, &envelope) == nil && envelope.Data != nil
		if hasEnvelope && p.counter.Take(envelope.Data) {
			continue
		}
		event := line.Event{"topic": message.GetTopic(), "from": author.String(), "via": message.ReceivedFrom.String(),
			"payload_b64": message.Data, "seqno_b64": message.GetSeqno(), "id_b64": []byte(message.ID), "has_key": len(message.Key) > 0, "t_us": line.NowMicros()}
		if hasEnvelope {
			event["name"] = envelope.Name
			event["data_b64"] = envelope.Data
			if json.Valid(envelope.Data) {
				event["json"] = json.RawMessage(envelope.Data)
			}
		}
		line.Emit("message", event)
	}
}
