package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	p2p "github.com/bsv-blockchain/go-p2p-message-bus"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"peerage.invalid/conformance/line"
)

type node struct {
	client  p2p.Client
	host    host.Host
	counter line.Counter
}

const connectTimeout = 10 * time.Second

func (n *node) handle(command line.Command) {
	switch command.Cmd {
	case "publish":
		n.handlePublish(command)
	case "peers":
		command.Done(n.peers())
	case "mesh":
		options := struct {
			Topic string `json:"topic"`
		}{}
		if err := command.Decode(&options); err != nil {
			command.Fail(err)
			return
		}
		command.Done(line.Event{"peers": meshOf(n.client, options.Topic)})
	case "connect":
		go n.handleConnect(command)
	case "disconnect":
		n.handleDisconnect(command)
	case "flood":
		go n.handleFlood(command)
	case "count":
		options := struct {
			On bool `json:"on"`
		}{}
		if err := command.Decode(&options); err != nil {
			command.Fail(err)
			return
		}
		n.counter.Reset(options.On)
		command.Done(nil)
	case "stats":
		command.Done(n.counter.Report())
	default:
		command.Fail(fmt.Errorf("unknown command %q", command.Cmd))
	}
}

// handlePublish takes the inner message as "json" (the bytes of the member as they stand) or
// "data_b64".
func (n *node) handlePublish(command line.Command) {
	options := struct {
		Topic string          `json:"topic"`
		JSON  json.RawMessage `json:"json"`
		Data  []byte          `json:"data_b64"`
	}{}
	err := command.Decode(&options)
	if err == nil && options.Topic == "" {
		err = errors.New("publish without a topic")
	}
	if err == nil {
		inner := options.Data
		if len(options.JSON) > 0 {
			inner = options.JSON
		}
		err = n.publish(options.Topic, inner)
	}
	if err != nil {
		command.Fail(err)
		return
	}
	command.Done(nil)
}

// peers lists the open connections, and what the library's own GetPeers says.
func (n *node) peers() line.Event {
	connected := []string{}
	for _, id := range n.host.Network().Peers() {
		connected = append(connected, id.String())
	}
	known := []line.Event{}
	for _, info := range n.client.GetPeers() {
		known = append(known, line.Event{"id": info.ID, "name": info.Name, "addrs": info.Addrs})
	}
	return line.Event{"connected": connected, "known": known}
}

func (n *node) handleConnect(command line.Command) {
	options := struct {
		Addr string `json:"addr"`
	}{}
	err := command.Decode(&options)
	var info *peer.AddrInfo
	if err == nil {
		info, err = peer.AddrInfoFromString(options.Addr)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		err = n.host.Connect(ctx, *info)
	}
	if err != nil {
		command.Fail(err)
		return
	}
	command.Done(nil)
}

func (n *node) handleDisconnect(command line.Command) {
	options := struct {
		Peer string `json:"peer"`
	}{}
	err := command.Decode(&options)
	var id peer.ID
	if err == nil {
		id, err = peer.Decode(options.Peer)
	}
	if err == nil {
		err = n.host.Network().ClosePeer(id)
	}
	if err != nil {
		command.Fail(err)
		return
	}
	command.Done(nil)
}

func (n *node) handleFlood(command line.Command) {
	flood := line.Flood{}
	err := command.Decode(&flood)
	var result line.Event
	if err == nil {
		result, err = flood.Start(n.client.GetID(), func(inner []byte) error { return n.publish(flood.Topic, inner) })
	}
	if err != nil {
		command.Fail(err)
		return
	}
	command.Done(result)
}

// watch reports who subscribes to the topic and who leaves it.
func (n *node) watch(name string) {
	topic := topicOf(n.client, name)
	if topic == nil {
		line.Emit("failed", line.Event{"message": "topic " + name + " is not joined"})
		return
	}
	events, err := topic.EventHandler()
	if err != nil {
		line.Emit("failed", line.Event{"message": err.Error()})
		return
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
}
