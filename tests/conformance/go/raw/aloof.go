package main

import (
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"peerage.invalid/conformance/line"
)

// aloof makes the stock router keep out of every mesh: it grafts nobody and refuses every GRAFT of a
// peer that dialled it. What passes then passes by IHAVE and IWANT alone. Each RPC is reported, its
// messages by the ids that the router computes.
func aloof() []pubsub.Option {
	params := pubsub.DefaultGossipSubParams()
	params.D, params.Dlo, params.Dhi, params.Dout, params.Dscore = 0, 0, 0, 0, 0
	return []pubsub.Option{pubsub.WithGossipSubParams(params), pubsub.WithEventTracer(reportRPCs{})}
}

type reportRPCs struct{}

// Trace reports what the router sends, receives and takes into a mesh.
func (reportRPCs) Trace(event *pb.TraceEvent) {
	switch event.GetType() {
	case pb.TraceEvent_RECV_RPC:
		line.Emit("rpc", describeMeta("received", event.GetRecvRPC().GetReceivedFrom(), event.GetRecvRPC().GetMeta()))
	case pb.TraceEvent_SEND_RPC:
		line.Emit("rpc", describeMeta("sent", event.GetSendRPC().GetSendTo(), event.GetSendRPC().GetMeta()))
	case pb.TraceEvent_GRAFT:
		graft := event.GetGraft()
		line.Emit("grafted", line.Event{"peer": idText(graft.GetPeerID()), "topic": graft.GetTopic()})
	default:
	}
}

func describeMeta(way string, other []byte, meta *pb.TraceEvent_RPCMeta) line.Event {
	control := meta.GetControl()
	messages, ihave, iwant, prunes := [][]byte{}, [][]byte{}, [][]byte{}, []string{}
	for _, m := range meta.GetMessages() {
		messages = append(messages, m.GetMessageID())
	}
	for _, c := range control.GetIhave() {
		ihave = append(ihave, c.GetMessageIDs()...)
	}
	for _, c := range control.GetIwant() {
		iwant = append(iwant, c.GetMessageIDs()...)
	}
	for _, c := range control.GetPrune() {
		prunes = append(prunes, c.GetTopic())
	}
	return line.Event{"way": way, "peer": idText(other), "messages_b64": messages, "ihave_b64": ihave,
		"iwant_b64": iwant, "prune": prunes}
}

func idText(bytes []byte) string {
	id, err := peer.IDFromBytes(bytes)
	if err != nil {
		return ""
	}
	return id.String()
}
