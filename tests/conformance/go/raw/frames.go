package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"peerage.invalid/conformance/line"
)

// frames speaks the router's protocol by hand: nothing is written but what a command says, and
// each frame that comes in is reported.
type frames struct {
	protocol protocol.ID
	topics   []string
	mu       sync.Mutex
	out      map[peer.ID]network.Stream
}

// frameBytesMax bounds one frame read.
const frameBytesMax = 8 << 20

func newFrames(p *rawPeer, config Config) *frames {
	id := protocol.ID(config.Meshsub)
	if id == "" {
		id = "/meshsub/1.2.0"
	}
	f := &frames{protocol: id, topics: config.Topics, out: map[peer.ID]network.Stream{}}
	p.host.SetStreamHandler(id, func(s network.Stream) { f.read(s) })
	return f
}

func (f *frames) read(s network.Stream) {
	remote := s.Conn().RemotePeer().String()
	reader := bufio.NewReader(s)
	for {
		size, err := binary.ReadUvarint(reader)
		if err == nil && size > frameBytesMax {
			err = fmt.Errorf("frame of %d bytes", size)
		}
		frame := []byte{}
		if err == nil {
			frame = make([]byte, size)
			_, err = io.ReadFull(reader, frame)
		}
		if err != nil {
			line.Emit("stream_closed", line.Event{"peer": remote, "message": err.Error()})
			return
		}
		rpc := pb.RPC{}
		if err := proto.Unmarshal(frame, &rpc); err != nil {
			line.Emit("bad_frame", line.Event{"peer": remote, "message": err.Error()})
			continue
		}
		line.Emit("frame", describe(remote, len(frame), &rpc))
	}
}

// describe is a frame's content; the messages in their pubsub fields.
func describe(remote string, size int, rpc *pb.RPC) line.Event {
	subscriptions := []line.Event{}
	for _, s := range rpc.GetSubscriptions() {
		subscriptions = append(subscriptions, line.Event{"topic": s.GetTopicid(), "subscribe": s.GetSubscribe()})
	}
	messages := []line.Event{}
	for _, m := range rpc.GetPublish() {
		author, err := peer.IDFromBytes(m.GetFrom())
		from := author.String()
		if err != nil {
			from = ""
		}
		messages = append(messages, line.Event{"topic": m.GetTopic(), "from": from, "seqno_b64": m.GetSeqno(),
			"payload_b64": m.GetData(), "signature_bytes": len(m.GetSignature()), "key_bytes": len(m.GetKey())})
	}
	control := rpc.GetControl()
	grafts, prunes, ihave, iwant, idontwant := []string{}, []string{}, [][]byte{}, [][]byte{}, [][]byte{}
	for _, c := range control.GetGraft() {
		grafts = append(grafts, c.GetTopicID())
	}
	for _, c := range control.GetPrune() {
		prunes = append(prunes, c.GetTopicID())
	}
	for _, c := range control.GetIhave() {
		for _, id := range c.GetMessageIDs() {
			ihave = append(ihave, []byte(id))
		}
	}
	for _, c := range control.GetIwant() {
		for _, id := range c.GetMessageIDs() {
			iwant = append(iwant, []byte(id))
		}
	}
	for _, c := range control.GetIdontwant() {
		for _, id := range c.GetMessageIDs() {
			idontwant = append(idontwant, []byte(id))
		}
	}
	return line.Event{"peer": remote, "size": size, "subscriptions": subscriptions, "messages": messages,
		"graft": grafts, "prune": prunes, "ihave_b64": ihave, "iwant_b64": iwant, "idontwant_b64": idontwant}
}

// stream is the one stream to a peer; the first one opens with our subscriptions and a graft of
// each topic, so that the other side takes us into its mesh.
func (p *rawPeer) stream(to peer.ID) (network.Stream, error) {
	f := p.frames
	if s, ok := f.out[to]; ok {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	s, err := p.host.NewStream(ctx, to, f.protocol)
	if err != nil {
		return nil, err
	}
	f.out[to] = s
	hello := pb.RPC{Control: &pb.ControlMessage{}}
	for _, topic := range f.topics {
		name, yes := topic, true
		hello.Subscriptions = append(hello.Subscriptions, &pb.RPC_SubOpts{Subscribe: &yes, Topicid: &name})
		hello.Control.Graft = append(hello.Control.Graft, &pb.ControlGraft{TopicID: &name})
	}
	bytes, err := proto.Marshal(&hello)
	if err != nil {
		return nil, err
	}
	return s, writeDelimited(s, bytes)
}

func writeDelimited(s network.Stream, frame []byte) error {
	_ = s.SetWriteDeadline(time.Now().Add(connectTimeout))
	_, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(frame))), frame...))
	return err
}

// writeFrame writes the bytes as one frame, whatever they are.
func (p *rawPeer) writeFrame(o options, frame []byte) error {
	if p.frames == nil {
		return errors.New("frames are written in mode frames only")
	}
	to, err := peer.Decode(o.Peer)
	if err != nil {
		return err
	}
	p.frames.mu.Lock()
	defer p.frames.mu.Unlock()
	s, err := p.stream(to)
	if err == nil {
		err = writeDelimited(s, frame)
	}
	if err != nil {
		delete(p.frames.out, to)
	}
	return err
}

// forge says how the message lies. Without any of it the message is honest.
type forge struct {
	// From is the author's id; empty for our own.
	From string `json:"from"`
	// SignSeed is the ed25519 seed to sign with; empty for our own key.
	SignSeed string `json:"sign_seed"`
	// Unsigned leaves the signature out, NoFrom the author, NoSeqno the number.
	Unsigned bool `json:"unsigned"`
	NoFrom   bool `json:"no_from"`
	NoSeqno  bool `json:"no_seqno"`
	// Tamper changes the last byte of the seqno after signing; the payload stays valid.
	Tamper bool `json:"tamper"`
	// WithKey adds the signer's public key, though its id holds it already.
	WithKey bool `json:"with_key"`
	// Seqno in hex; empty for random bytes.
	Seqno string `json:"seqno"`
	// Copies of the same message in one frame; 0 counts as 1.
	Copies int `json:"copies"`
}

// forgeMessage writes one message to one peer as the forge says.
func (p *rawPeer) forgeMessage(o options) (line.Event, error) {
	message, err := p.forged(o)
	if err != nil {
		return nil, err
	}
	rpc := pb.RPC{}
	for range max(1, o.Forge.Copies) {
		rpc.Publish = append(rpc.Publish, message)
	}
	frame, err := proto.Marshal(&rpc)
	if err != nil {
		return nil, err
	}
	return line.Event{"frame_bytes": len(frame)}, p.writeFrame(o, frame)
}

func (p *rawPeer) forged(o options) (*pb.Message, error) {
	payload, err := payloadOf(o)
	if err != nil {
		return nil, err
	}
	author := p.host.ID()
	if o.Forge.From != "" {
		if author, err = peer.Decode(o.Forge.From); err != nil {
			return nil, err
		}
	}
	key := p.key
	if o.Forge.SignSeed != "" {
		if key, err = keyOf(o.Forge.SignSeed); err != nil {
			return nil, err
		}
	}
	seqno, err := hex.DecodeString(o.Forge.Seqno)
	if err != nil {
		return nil, err
	}
	if len(seqno) == 0 {
		seqno = make([]byte, 8)
		_, _ = rand.Read(seqno)
	}
	message := &pb.Message{From: []byte(author), Data: payload, Seqno: seqno, Topic: &o.Topic}
	if o.Forge.NoFrom {
		message.From = nil
	}
	if o.Forge.NoSeqno {
		message.Seqno = nil
	}
	if o.Forge.Unsigned {
		return message, nil
	}
	plain, err := proto.Marshal(message)
	if err != nil {
		return nil, err
	}
	if message.Signature, err = key.Sign(append([]byte("libp2p-pubsub:"), plain...)); err != nil {
		return nil, err
	}
	if o.Forge.WithKey {
		if message.Key, err = keyBytes(key); err != nil {
			return nil, err
		}
	}
	if o.Forge.Tamper {
		if len(message.Seqno) == 0 {
			return nil, errors.New("nothing to tamper with: no seqno")
		}
		message.Seqno[len(message.Seqno)-1] ^= 1
	}
	return message, nil
}
