package main

import (
	"bufio"
	"context"
	"encoding/binary"
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
	hello    string
	mu       sync.Mutex
	// Our streams, which we write to, and the newest that each peer opened to us, numbered from 1.
	out    map[peer.ID]network.Stream
	in     map[peer.ID]network.Stream
	opened map[peer.ID]int
}

// frameBytesMax bounds one frame read.
const frameBytesMax = 8 << 20

func newFrames(p *rawPeer, config Config) *frames {
	id := protocol.ID(config.Meshsub)
	if id == "" {
		id = "/meshsub/1.2.0"
	}
	f := &frames{protocol: id, topics: config.Topics, hello: config.Hello, out: map[peer.ID]network.Stream{},
		in: map[peer.ID]network.Stream{}, opened: map[peer.ID]int{}}
	p.host.SetStreamHandler(id, func(s network.Stream) { f.read(s) })
	return f
}

// enter numbers a stream that a peer has opened.
func (f *frames) enter(s network.Stream) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	remote := s.Conn().RemotePeer()
	f.in[remote] = s
	f.opened[remote]++
	return f.opened[remote]
}

func (f *frames) read(s network.Stream) {
	remote, number := s.Conn().RemotePeer().String(), f.enter(s)
	line.Emit("stream_opened", line.Event{"peer": remote, "number": number, "connection": s.Conn().ID()})
	reader := bufio.NewReader(s)
	for count := 0; ; count++ {
		frame, err := readDelimited(reader)
		if err != nil {
			line.Emit("stream_closed", line.Event{"peer": remote, "number": number, "message": err.Error()})
			return
		}
		rpc := pb.RPC{}
		if err := proto.Unmarshal(frame, &rpc); err != nil {
			line.Emit("bad_frame", line.Event{"peer": remote, "message": err.Error()})
			continue
		}
		event := describe(remote, len(frame), &rpc)
		event["stream"], event["nth"] = number, count
		line.Emit("frame", event)
	}
}

func readDelimited(reader *bufio.Reader) ([]byte, error) {
	size, err := binary.ReadUvarint(reader)
	if err != nil {
		return nil, err
	}
	if size > frameBytesMax {
		return nil, fmt.Errorf("frame of %d bytes", size)
	}
	frame := make([]byte, size)
	_, err = io.ReadFull(reader, frame)
	return frame, err
}

// stream is the one stream to a peer; the first frame on it is the hello.
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
	go f.watch(to, s)
	hello, err := f.helloFrame()
	if err != nil || hello == nil {
		return s, err
	}
	return s, writeDelimited(s, [][]byte{hello})
}

// helloFrame tells our subscriptions and, unless told otherwise, a graft of each topic, so that the other side takes us
// into its mesh.
func (f *frames) helloFrame() ([]byte, error) {
	hello := pb.RPC{}
	switch f.hello {
	case "", "graft":
		hello.Control = &pb.ControlMessage{}
	case "subscribe":
	case "none":
		return nil, nil
	default:
		return nil, fmt.Errorf("hello %q is none of graft, subscribe, none", f.hello)
	}
	for _, topic := range f.topics {
		name, yes := topic, true
		hello.Subscriptions = append(hello.Subscriptions, &pb.RPC_SubOpts{Subscribe: &yes, Topicid: &name})
		if hello.Control != nil {
			hello.Control.Graft = append(hello.Control.Graft, &pb.ControlGraft{TopicID: &name})
		}
	}
	return proto.Marshal(&hello)
}

// watch reports the end of a stream of ours, on which nothing is ever sent back.
func (f *frames) watch(to peer.ID, s network.Stream) {
	how := "eof"
	_, err := s.Read([]byte{0})
	switch {
	case err == nil:
		how = "data"
	case !errors.Is(err, io.EOF):
		how = "reset"
	}
	f.mu.Lock()
	ours := f.out[to] == s
	if ours {
		delete(f.out, to)
	}
	f.mu.Unlock()
	if ours {
		line.Emit("own_stream_ended", line.Event{"peer": to.String(), "how": how})
	}
}

func writeDelimited(s network.Stream, frames [][]byte) error {
	_ = s.SetWriteDeadline(time.Now().Add(connectTimeout))
	bytes := []byte{}
	for _, frame := range frames {
		bytes = append(binary.AppendUvarint(bytes, uint64(len(frame))), frame...)
	}
	_, err := s.Write(bytes)
	return err
}

// writeFrames writes the frames, whatever they are, by one write.
func (p *rawPeer) writeFrames(o options, frames [][]byte) error {
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
	if err == nil && len(frames) > 0 {
		err = writeDelimited(s, frames)
	}
	if err != nil {
		delete(p.frames.out, to)
	}
	return err
}

// endStream closes or resets our stream to a peer, or the newest that it opened to us.
func (p *rawPeer) endStream(o options) error {
	if p.frames == nil {
		return errors.New("streams are ended in mode frames only")
	}
	id, err := peer.Decode(o.Peer)
	if err != nil {
		return err
	}
	p.frames.mu.Lock()
	defer p.frames.mu.Unlock()
	streams := p.frames.in
	if o.Whose == "ours" {
		streams = p.frames.out
	}
	s, ok := streams[id]
	if !ok {
		return fmt.Errorf("no stream of %s", id)
	}
	delete(streams, id)
	if o.How == "close" {
		return s.Close()
	}
	return s.Reset()
}
