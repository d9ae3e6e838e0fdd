package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"peerage.invalid/conformance/line"
)

// forge says how the message lies. Without any of it the message is honest.
type forge struct {
	// From is the author's id; empty for our own.
	From string `json:"from"`
	// SignSeed is the ed25519 seed to sign with; empty for our own key.
	SignSeed string `json:"sign_seed"`
	// RSA makes the author that of "rsa_id", its key in the message as it has to be.
	RSA bool `json:"rsa"`
	// Unsigned leaves the signature out, NoFrom the author, NoSeqno the number.
	Unsigned bool `json:"unsigned"`
	NoFrom   bool `json:"no_from"`
	NoSeqno  bool `json:"no_seqno"`
	// Tamper changes the last byte of the seqno after signing; the payload stays valid.
	Tamper bool `json:"tamper"`
	// Corrupt changes the last byte of the signature.
	Corrupt bool `json:"corrupt"`
	// WithKey adds the signer's public key, though its id holds it already; KeyHex these bytes, of which there may be none.
	WithKey bool    `json:"with_key"`
	KeyHex  *string `json:"key_hex"`
	// Unknown adds a field that nobody knows: "signed" before the signature is made, "added" after.
	Unknown string `json:"unknown"`
	// Seqno in hex; empty for random bytes.
	Seqno string `json:"seqno"`
	// Copies of the same message in one frame; 0 counts as 1.
	Copies int `json:"copies"`
	// RPCUnknown adds unknown fields to the frame around the message, to its subscriptions and to its control.
	RPCUnknown bool `json:"rpc_unknown"`
}

// unknownField is the number of a field that no version of the protocol has.
const unknownField = 5000

func unknownBytes() []byte {
	bytes := protowire.AppendTag(nil, unknownField, protowire.BytesType)
	bytes = protowire.AppendString(bytes, "unknown")
	bytes = protowire.AppendTag(bytes, unknownField+1, protowire.VarintType)
	return protowire.AppendVarint(bytes, 1<<40)
}

func addUnknown(m proto.Message) { m.ProtoReflect().SetUnknown(unknownBytes()) }

// forgeMessages writes one frame of one message, or of those of the batch, to one peer as the forges say.
func (p *rawPeer) forgeMessages(o options) (line.Event, error) {
	batch := o.Batch
	if len(batch) == 0 {
		batch = []options{o}
	}
	rpc, ids := pb.RPC{}, [][]byte{}
	for _, one := range batch {
		message, err := p.forged(one)
		if err != nil {
			return nil, err
		}
		for range max(1, one.Forge.Copies) {
			rpc.Publish = append(rpc.Publish, message)
		}
		ids = append(ids, append(append([]byte{}, message.GetFrom()...), message.GetSeqno()...))
	}
	if o.Forge.RPCUnknown {
		yes, topic := true, o.Topic
		subscription := &pb.RPC_SubOpts{Subscribe: &yes, Topicid: &topic}
		rpc.Subscriptions = append(rpc.Subscriptions, subscription)
		rpc.Control = &pb.ControlMessage{}
		addUnknown(subscription)
		addUnknown(rpc.Control)
		addUnknown(&rpc)
	}
	frame, err := proto.Marshal(&rpc)
	if err != nil {
		return nil, err
	}
	return line.Event{"frame_bytes": len(frame), "ids_b64": ids}, p.writeFrames(o, [][]byte{frame})
}

func (p *rawPeer) forged(o options) (*pb.Message, error) {
	message, key, err := p.unsigned(o)
	if err != nil || o.Forge.Unsigned {
		return message, err
	}
	plain, err := proto.Marshal(message)
	if err != nil {
		return nil, err
	}
	if message.Signature, err = key.Sign(append([]byte("libp2p-pubsub:"), plain...)); err != nil {
		return nil, err
	}
	if o.Forge.WithKey || o.Forge.RSA {
		if message.Key, err = keyBytes(key); err != nil {
			return nil, err
		}
	}
	return message, spoil(message, o.Forge)
}

// unsigned is the message before it is signed, and the key to sign it with.
func (p *rawPeer) unsigned(o options) (*pb.Message, crypto.PrivKey, error) {
	payload, err := payloadOf(o)
	if err != nil {
		return nil, nil, err
	}
	author, key := p.host.ID(), p.key
	if o.Forge.RSA {
		if author, key, err = p.rsaAuthor(); err != nil {
			return nil, nil, err
		}
	}
	if o.Forge.From != "" {
		if author, err = peer.Decode(o.Forge.From); err != nil {
			return nil, nil, err
		}
	}
	if o.Forge.SignSeed != "" {
		if key, err = keyOf(o.Forge.SignSeed); err != nil {
			return nil, nil, err
		}
	}
	seqno, err := hex.DecodeString(o.Forge.Seqno)
	if err != nil {
		return nil, nil, err
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
	if o.Forge.Unknown == "signed" {
		addUnknown(message)
	}
	return message, key, nil
}

// spoil does to a signed message what makes its signature wrong.
func spoil(message *pb.Message, forge forge) error {
	if forge.KeyHex != nil {
		key, err := hex.DecodeString(*forge.KeyHex)
		if err != nil {
			return err
		}
		message.Key = append([]byte{}, key...)
	}
	switch forge.Unknown {
	case "", "signed":
	case "added":
		addUnknown(message)
	default:
		return fmt.Errorf("unknown fields are signed or added, not %q", forge.Unknown)
	}
	if forge.Corrupt {
		message.Signature[len(message.Signature)-1] ^= 1
	}
	if forge.Tamper {
		if len(message.Seqno) == 0 {
			return errors.New("nothing to tamper with: no seqno")
		}
		message.Seqno[len(message.Seqno)-1] ^= 1
	}
	return nil
}

// rsaAuthor is this process's author with an RSA key, made when it is first asked for.
func (p *rawPeer) rsaAuthor() (peer.ID, crypto.PrivKey, error) {
	if p.rsa == nil {
		key, _, err := crypto.GenerateKeyPair(crypto.RSA, 2048)
		if err != nil {
			return "", nil, err
		}
		p.rsa = key
	}
	id, err := peer.IDFromPrivateKey(p.rsa)
	return id, p.rsa, err
}
