package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"

	"peerage.invalid/conformance/line"
)

const connectTimeout = 10 * time.Second

const addressRequest = "/p2p-msg-bus/peer-addr-request/1.0.0"

// options are the members of all commands.
type options struct {
	Topic string `json:"topic"`
	// Payload is the pubsub data as it is; Data and JSON are put into an envelope under Name.
	Payload []byte          `json:"payload_b64"`
	Data    []byte          `json:"data_b64"`
	JSON    json.RawMessage `json:"json"`
	Name    string          `json:"name"`
	// Size makes the payload that many bytes of valid envelope with filling.
	Size int `json:"size"`
	// AsSeed publishes under the identity of that ed25519 seed, properly signed.
	AsSeed string `json:"as_seed"`
	Peer   string `json:"peer"`
	Addr   string `json:"addr"`
	// Text is written to an address request as it is.
	Text  string `json:"text"`
	On    bool   `json:"on"`
	Forge forge  `json:"forge"`
	Frame []byte `json:"frame_b64"`
	// Batch are messages of one frame, each with its own topic, payload and forge.
	Batch []options `json:"batch"`
	RPC   rpc       `json:"rpc"`
	Count int       `json:"count"`
	// Whose stream is ended, "ours" or "theirs"; How, "close" or "reset".
	Whose string `json:"whose"`
	How   string `json:"how"`
	Cases []edge `json:"cases"`
}

func (p *rawPeer) handle(command line.Command) {
	if command.Cmd == "flood" {
		go p.flood(command)
		return
	}
	o := options{}
	if err := command.Decode(&o); err != nil {
		command.Fail(err)
		return
	}
	run := func(f func() (line.Event, error)) {
		result, err := f()
		if err != nil {
			command.Fail(err)
			return
		}
		command.Done(result)
	}
	switch command.Cmd {
	case "publish":
		run(func() (line.Event, error) { return nil, p.publish(o) })
	case "frame":
		run(func() (line.Event, error) { return nil, p.writeFrames(o, [][]byte{o.Frame}) })
	case "greet":
		run(func() (line.Event, error) { return nil, p.writeFrames(o, nil) })
	case "rpc":
		run(func() (line.Event, error) { return p.writeRPC(o) })
	case "forge":
		run(func() (line.Event, error) { return p.forgeMessages(o) })
	case "end_stream":
		run(func() (line.Event, error) { return nil, p.endStream(o) })
	case "rsa_id":
		run(func() (line.Event, error) {
			id, _, err := p.rsaAuthor()
			return line.Event{"peer_id": id.String()}, err
		})
	case "join", "leave":
		run(func() (line.Event, error) { return nil, p.changeTopic(o.Topic, command.Cmd == "join") })
	case "scores":
		run(p.scores.report)
	case "ed25519":
		run(func() (line.Event, error) { return answers(o.Cases) })
	case "connect":
		go run(func() (line.Event, error) { return nil, p.connect(o.Addr) })
	case "disconnect":
		run(func() (line.Event, error) { return nil, p.disconnect(o.Peer) })
	case "ping":
		go run(func() (line.Event, error) { return p.ping(o.Peer) })
	case "addr_request":
		go run(func() (line.Event, error) { return p.requestAddresses(o.Peer, o.Text) })
	case "crowd":
		go run(func() (line.Event, error) { return p.crowd(o.Addr, o.Count) })
	case "peers":
		run(func() (line.Event, error) { return p.peers(), nil })
	case "count":
		p.counter.Reset(o.On)
		command.Done(nil)
	case "stats":
		command.Done(p.counter.Report())
	default:
		command.Fail(fmt.Errorf("unknown command %q", command.Cmd))
	}
}

func (p *rawPeer) peers() line.Event {
	connected := []string{}
	for _, id := range p.host.Network().Peers() {
		connected = append(connected, id.String())
	}
	return line.Event{"connected": connected}
}

// payloadOf is the pubsub data that the options ask for.
func payloadOf(o options) ([]byte, error) {
	if o.Size > 0 {
		return filled(o.Size)
	}
	if o.Payload != nil {
		return o.Payload, nil
	}
	inner := o.Data
	if len(o.JSON) > 0 {
		inner = o.JSON
	}
	return json.Marshal(struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}{o.Name, inner})
}

// filled is an envelope of exactly size bytes.
func filled(size int) ([]byte, error) {
	const around = len(`{"name":"","data":"e30="}`)
	if size < around {
		return nil, fmt.Errorf("no envelope has %d bytes", size)
	}
	name := make([]byte, size-around)
	for i := range name {
		name[i] = 'x'
	}
	return fmt.Appendf(nil, `{"name":"%s","data":"e30="}`, name), nil
}

func (p *rawPeer) publish(o options) error {
	if p.router == nil {
		return errors.New("mode frames has no router; use forge")
	}
	payload, err := payloadOf(o)
	if err != nil {
		return err
	}
	topic, err := p.router.topic(o.Topic)
	if err != nil {
		return err
	}
	extra := []pubsub.PubOpt{}
	if o.AsSeed != "" {
		key, err := keyOf(o.AsSeed)
		if err != nil {
			return err
		}
		id, err := peer.IDFromPrivateKey(key)
		if err != nil {
			return err
		}
		extra = append(extra, pubsub.WithSecretKeyAndPeerId(key, id))
	}
	return topic.Publish(context.Background(), payload, extra...)
}

func (p *rawPeer) flood(command line.Command) {
	flood := line.Flood{}
	err := command.Decode(&flood)
	if err == nil && p.router == nil {
		err = errors.New("mode frames has no router")
	}
	var result line.Event
	if err == nil {
		result, err = flood.Start(p.host.ID().String(), func(inner []byte) error {
			return p.publish(options{Topic: flood.Topic, Data: inner, Name: "flood"})
		})
	}
	if err != nil {
		command.Fail(err)
		return
	}
	command.Done(result)
}

func (p *rawPeer) disconnect(text string) error {
	id, err := peer.Decode(text)
	if err != nil {
		return err
	}
	return p.host.Network().ClosePeer(id)
}

func (p *rawPeer) ping(text string) (line.Event, error) {
	id, err := peer.Decode(text)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	result := <-ping.Ping(ctx, p.host, id)
	return line.Event{"rtt_us": result.RTT.Microseconds()}, result.Error
}

// requestAddresses writes the text to an address request stream and reads the answer to its end.
func (p *rawPeer) requestAddresses(to, text string) (line.Event, error) {
	id, err := peer.Decode(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	stream, err := p.host.NewStream(ctx, id, addressRequest)
	if err != nil {
		return nil, err
	}
	defer func(s network.Stream) { _ = s.Reset() }(stream)
	_ = stream.SetDeadline(time.Now().Add(connectTimeout))
	if _, err := stream.Write([]byte(text)); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(stream, 1<<16))
	if err != nil {
		return nil, err
	}
	return line.Event{"answer": string(answer)}, nil
}

func addrInfo(address string) (*peer.AddrInfo, error) { return peer.AddrInfoFromString(address) }
