package main

import (
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"peerage.invalid/conformance/line"
)

// describe is a frame's content; the messages in their pubsub fields.
func describe(remote string, size int, rpc *pb.RPC) line.Event {
	subscriptions := []line.Event{}
	for _, s := range rpc.GetSubscriptions() {
		subscriptions = append(subscriptions, line.Event{"topic": s.GetTopicid(), "subscribe": s.GetSubscribe()})
	}
	messages := []line.Event{}
	for _, m := range rpc.GetPublish() {
		messages = append(messages, describeMessage(m))
	}
	control := rpc.GetControl()
	grafts, prunes, backoffs := []string{}, []string{}, []uint64{}
	for _, c := range control.GetGraft() {
		grafts = append(grafts, c.GetTopicID())
	}
	for _, c := range control.GetPrune() {
		prunes = append(prunes, c.GetTopicID())
		backoffs = append(backoffs, c.GetBackoff())
	}
	ihave, iwant, idontwant := [][]byte{}, [][]byte{}, [][]byte{}
	for _, c := range control.GetIhave() {
		ihave = appendIDs(ihave, c.GetMessageIDs())
	}
	for _, c := range control.GetIwant() {
		iwant = appendIDs(iwant, c.GetMessageIDs())
	}
	for _, c := range control.GetIdontwant() {
		idontwant = appendIDs(idontwant, c.GetMessageIDs())
	}
	return line.Event{"peer": remote, "size": size, "subscriptions": subscriptions, "messages": messages,
		"graft": grafts, "prune": prunes, "prune_backoff_s": backoffs, "ihave_b64": ihave, "iwant_b64": iwant,
		"idontwant_b64": idontwant}
}

func describeMessage(m *pb.Message) line.Event {
	author, err := peer.IDFromBytes(m.GetFrom())
	from := author.String()
	if err != nil {
		from = ""
	}
	id := append(append([]byte{}, m.GetFrom()...), m.GetSeqno()...)
	return line.Event{"topic": m.GetTopic(), "from": from, "seqno_b64": m.GetSeqno(), "id_b64": id,
		"payload_b64": m.GetData(), "signature_bytes": len(m.GetSignature()), "key_bytes": len(m.GetKey()),
		"unknown_bytes": len(m.ProtoReflect().GetUnknown())}
}

func appendIDs(ids [][]byte, more []string) [][]byte {
	for _, id := range more {
		ids = append(ids, []byte(id))
	}
	return ids
}
