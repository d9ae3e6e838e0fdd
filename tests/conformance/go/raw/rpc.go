package main

import (
	"crypto/rand"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"google.golang.org/protobuf/proto"

	"peerage.invalid/conformance/line"
)

// rpc is a frame without messages.
type rpc struct {
	Subscribe   []string `json:"subscribe"`
	Unsubscribe []string `json:"unsubscribe"`
	Graft       []string `json:"graft"`
	Prune       []struct {
		Topic   string  `json:"topic"`
		Backoff *uint64 `json:"backoff_s"`
	} `json:"prune"`
	IHave []struct {
		Topic string   `json:"topic"`
		IDs   [][]byte `json:"ids_b64"`
		// Fresh adds that many ids of messages that nobody has.
		Fresh int `json:"fresh"`
	} `json:"ihave"`
	IWant     [][]byte `json:"iwant_b64"`
	IDontWant [][]byte `json:"idontwant_b64"`
}

// writeRPC writes the frame as often as asked for, each time with other fresh ids, by one write.
func (p *rawPeer) writeRPC(o options) (line.Event, error) {
	frames, size := [][]byte{}, 0
	for range max(1, o.Count) {
		frame, err := p.encode(o.RPC)
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
		size += len(frame)
	}
	return line.Event{"bytes": size}, p.writeFrames(o, frames)
}

func (p *rawPeer) encode(r rpc) ([]byte, error) {
	frame, control := &pb.RPC{}, &pb.ControlMessage{}
	for list, subscribe := range map[*[]string]bool{&r.Subscribe: true, &r.Unsubscribe: false} {
		for _, topic := range *list {
			frame.Subscriptions = append(frame.Subscriptions, &pb.RPC_SubOpts{Subscribe: &subscribe, Topicid: &topic})
		}
	}
	for _, topic := range r.Graft {
		control.Graft = append(control.Graft, &pb.ControlGraft{TopicID: &topic})
	}
	for _, prune := range r.Prune {
		control.Prune = append(control.Prune, &pb.ControlPrune{TopicID: &prune.Topic, Backoff: prune.Backoff})
	}
	for _, ihave := range r.IHave {
		ids := texts(ihave.IDs)
		for range ihave.Fresh {
			ids = append(ids, string(p.freshID()))
		}
		control.Ihave = append(control.Ihave, &pb.ControlIHave{TopicID: &ihave.Topic, MessageIDs: ids})
	}
	if len(r.IWant) > 0 {
		control.Iwant = []*pb.ControlIWant{{MessageIDs: texts(r.IWant)}}
	}
	if len(r.IDontWant) > 0 {
		control.Idontwant = []*pb.ControlIDontWant{{MessageIDs: texts(r.IDontWant)}}
	}
	if proto.Size(control) > 0 {
		frame.Control = control
	}
	return proto.Marshal(frame)
}

func texts(ids [][]byte) []string {
	result := []string{}
	for _, id := range ids {
		result = append(result, string(id))
	}
	return result
}

// freshID is the id of a message of ours that nobody has.
func (p *rawPeer) freshID() []byte {
	seqno := make([]byte, 8)
	_, _ = rand.Read(seqno)
	return append([]byte(p.host.ID()), seqno...)
}
