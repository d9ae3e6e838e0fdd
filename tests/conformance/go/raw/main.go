// Command raw is a go-libp2p peer without manners: it publishes under other identities, beyond
// every size, without envelope, and writes router frames byte by byte. Driven by lines of JSON.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"peerage.invalid/conformance/line"
)

// Config is the first line of input.
type Config struct {
	// Seed is an ed25519 seed, 64 hex digits; empty for a random one.
	Seed string `json:"seed"`
	// Listen is a multiaddr; empty for /ip4/127.0.0.1/tcp/0, "none" for a peer that nobody can dial.
	Listen string `json:"listen"`
	// Connect are multiaddrs with /p2p/ID, dialled before "ready"; one that fails ends the peer.
	Connect []string `json:"connect"`
	// Topics are full names to subscribe to.
	Topics []string `json:"topics"`
	// Mode is "gossipsub" (default), "floodsub", or "frames": no router, only what "frame" and
	// "forge" write, and each frame received reported.
	Mode string `json:"mode"`
	// MaxMessageSize of the router in bytes; 0 for the library's 1 MiB.
	MaxMessageSize int `json:"max_message_size"`
	// Aloof keeps the router out of every mesh and reports its RPCs; see aloof.go.
	Aloof bool `json:"aloof"`
	// Security protocols in order, of "tls" and "noise"; empty for both in that order.
	Security []string `json:"security"`
	// ProtocolVersion of identify.
	ProtocolVersion string `json:"protocol_version"`
	// Hello is the first frame of a stream in mode "frames": "graft" (default) for subscriptions and grafts, "subscribe" for
	// subscriptions alone, "none" for no such frame.
	Hello string `json:"hello"`
	// Score makes the router keep scores and exchange peers; see score.go.
	Score bool `json:"score"`
	// Meshsub is the one protocol id that mode "frames" speaks; empty for /meshsub/1.2.0.
	Meshsub string `json:"meshsub"`
	// Relay is "service" for a relay, "client" for a peer that dials through one and punches holes; empty for neither.
	Relay string `json:"relay"`
}

func main() {
	in := line.NewInput()
	config := Config{}
	if err := in.Config(&config); err != nil {
		line.Fatal(err)
	}
	p, err := start(config)
	if err != nil {
		line.Fatal(err)
	}
	in.Serve(p.handle)
	os.Exit(0)
}

type rawPeer struct {
	host    host.Host
	key     crypto.PrivKey
	rsa     crypto.PrivKey
	topics  []string
	router  *router
	frames  *frames
	scores  *scores
	counter line.Counter
}

func start(config Config) (*rawPeer, error) {
	key, err := keyOf(config.Seed)
	if err != nil {
		return nil, err
	}
	h, err := newHost(config, key)
	if err != nil {
		return nil, err
	}
	if config.Relay == "client" {
		if err := awaitHolePunching(h); err != nil {
			return nil, err
		}
	}
	p := &rawPeer{host: h, key: key, topics: config.Topics}
	if err := p.reportIdentify(); err != nil {
		return nil, err
	}
	p.reportConnections()
	if config.Mode == "frames" {
		p.frames = newFrames(p, config)
	} else if p.router, err = newRouter(p, config); err != nil {
		return nil, err
	}
	addresses := []string{}
	for _, address := range h.Addrs() {
		addresses = append(addresses, fmt.Sprintf("%s/p2p/%s", address, h.ID()))
	}
	for _, address := range config.Connect {
		if err := p.connect(address); err != nil {
			return nil, fmt.Errorf("cannot connect to %s: %w", address, err)
		}
	}
	line.Emit("ready", line.Event{"peer_id": h.ID().String(), "addrs": addresses, "pid": os.Getpid()})
	return p, nil
}

func newHost(config Config, key crypto.PrivKey) (host.Host, error) {
	listen := config.Listen
	if listen == "" {
		listen = "/ip4/127.0.0.1/tcp/0"
	}
	options := []libp2p.Option{
		libp2p.Identity(key), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.UserAgent("peerage-conformance-raw"),
	}
	if listen == "none" {
		options = append(options, libp2p.NoListenAddrs)
	} else {
		options = append(options, libp2p.ListenAddrStrings(listen))
	}
	switch config.Relay {
	case "":
		options = append(options, libp2p.DisableRelay())
	case "service":
		options = append(options, libp2p.EnableRelayService(), libp2p.ForceReachabilityPublic())
	case "client":
		options = append(options, libp2p.EnableRelay(), libp2p.EnableHolePunching())
	default:
		return nil, fmt.Errorf("relay %q is neither service nor client", config.Relay)
	}
	if config.ProtocolVersion != "" {
		options = append(options, libp2p.ProtocolVersion(config.ProtocolVersion))
	}
	for _, name := range config.Security {
		switch name {
		case "tls":
			options = append(options, libp2p.Security(libp2ptls.ID, libp2ptls.New))
		case "noise":
			options = append(options, libp2p.Security(noise.ID, noise.New))
		default:
			return nil, fmt.Errorf("security %q is neither tls nor noise", name)
		}
	}
	return libp2p.New(options...)
}

// awaitHolePunching returns once the host answers who wants to punch a hole: it looks for a public address of its own first.
func awaitHolePunching(h host.Host) error {
	for deadline := time.Now().Add(connectTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if slices.Contains(h.Mux().Protocols(), holepunch.Protocol) {
			return nil
		}
	}
	return errors.New("no public address, and so no hole punching")
}

func keyOf(seed string) (crypto.PrivKey, error) {
	if seed == "" {
		key, _, err := crypto.GenerateEd25519Key(nil)
		return key, err
	}
	bytes, err := hex.DecodeString(seed)
	if err != nil || len(bytes) != ed25519.SeedSize {
		return nil, fmt.Errorf("seed must be %d hex digits", 2*ed25519.SeedSize)
	}
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes))
}

func (p *rawPeer) reportConnections() {
	p.host.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			state := c.ConnState()
			line.Emit("connected", line.Event{"peer": c.RemotePeer().String(), "addr": c.RemoteMultiaddr().String(),
				"direction": c.Stat().Direction.String(), "security": string(state.Security),
				"muxer": string(state.StreamMultiplexer), "early_muxer": state.UsedEarlyMuxerNegotiation})
		},
		DisconnectedF: func(net network.Network, c network.Conn) {
			line.Emit("disconnected", line.Event{"peer": c.RemotePeer().String(), "left": len(net.ConnsToPeer(c.RemotePeer()))})
		},
	})
}

// reportIdentify writes "identify" for each peer that has identified itself.
func (p *rawPeer) reportIdentify() error {
	subscription, err := p.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	go func() {
		for anything := range subscription.Out() {
			done, ok := anything.(event.EvtPeerIdentificationCompleted)
			if !ok {
				continue
			}
			protocols := []string{}
			for _, id := range done.Protocols {
				protocols = append(protocols, string(id))
			}
			addresses := []string{}
			for _, address := range done.ListenAddrs {
				addresses = append(addresses, address.String())
			}
			observed := ""
			if done.ObservedAddr != nil {
				observed = done.ObservedAddr.String()
			}
			line.Emit("identify", line.Event{"peer": done.Peer.String(), "agent": done.AgentVersion,
				"protocol_version": done.ProtocolVersion, "protocols": protocols, "listen_addrs": addresses,
				"observed": observed, "signed_record": done.SignedPeerRecord != nil})
		}
	}()
	return nil
}

func (p *rawPeer) connect(address string) error {
	info, err := addrInfo(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return p.host.Connect(ctx, *info)
}

func keyBytes(key crypto.PrivKey) ([]byte, error) { return crypto.MarshalPublicKey(key.GetPublic()) }
