// Package bus drives github.com/bsv-blockchain/go-p2p-message-bus by lines of JSON. The modules
// bus017 and bus022 link it with one version of the library each.
package bus

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"time"

	p2p "github.com/bsv-blockchain/go-p2p-message-bus"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"peerage.invalid/conformance/line"
)

// Config is the first line of input.
type Config struct {
	// Seed is an ed25519 seed, 64 hex digits; empty for a random one.
	Seed string `json:"seed"`
	// Name is the client name of the envelopes.
	Name string `json:"name"`
	// Port to listen on; 0 for a free one, which is the rule.
	Port int `json:"port"`
	// Bootstrap multiaddrs with /p2p/ID. Empty never reaches the library, which would dial hosts
	// of the public internet: a dead loopback address takes its place.
	Bootstrap []string `json:"bootstrap"`
	// Static multiaddrs; bus022 only.
	Static []string `json:"static"`
	// DHT is "server", "client" or "off" (default here).
	DHT string `json:"dht"`
	// Topics are full names, subscribed before "ready".
	Topics []string `json:"topics"`
	// DenyPrivate switches the library's gate against private addresses on, loopback included.
	DenyPrivate bool `json:"deny_private"`
	// ProtocolVersion of identify.
	ProtocolVersion string `json:"protocol_version"`
	// CacheFile is the library's peer cache; empty for none.
	CacheFile string `json:"cache_file"`
	// MaxConnections raises the high water mark; 0 for the library's 35.
	MaxConnections int `json:"max_connections"`
	// MDNS looks for peers on the local network.
	MDNS bool `json:"mdns"`
	// Aloof keeps the router out of every mesh; see inside.go.
	Aloof bool `json:"aloof"`
	// Log passes the library's log on to standard error.
	Log bool `json:"log"`
}

// Main runs the peer until standard input closes. The static peers exist in one version only, so
// the caller says how they are set.
func Main(setStatic func(*p2p.Config, []string) error) {
	in := line.NewInput()
	config := Config{}
	if err := in.Config(&config); err != nil {
		line.Fatal(err)
	}
	node, err := start(config, setStatic)
	if err != nil {
		line.Fatal(err)
	}
	in.Serve(node.handle)
	os.Exit(0) // the library's own closing waits up to 2 s for nobody
}

func start(config Config, setStatic func(*p2p.Config, []string) error) (*node, error) {
	log.SetOutput(io.Discard)
	if config.Log {
		log.SetOutput(os.Stderr)
	}
	key, err := privateKey(config.Seed)
	if err != nil {
		return nil, err
	}
	name := config.Name
	if name == "" {
		name = "go-bus"
	}
	mode := config.DHT
	if mode == "" {
		mode = "off"
	}
	options := p2p.Config{
		Name: name, PrivateKey: key, ProtocolVersion: config.ProtocolVersion, DHTMode: mode,
		BootstrapPeers: config.Bootstrap, AllowPrivateIPs: !config.DenyPrivate, PeerCacheFile: config.CacheFile,
		MaxConnections: config.MaxConnections, EnableMDNS: config.MDNS,
	}
	if len(options.BootstrapPeers) == 0 {
		options.BootstrapPeers = []string{deadAddress()}
	}
	if len(config.Static) > 0 {
		if err := setStatic(&options, config.Static); err != nil {
			return nil, err
		}
	}
	client, port, err := listen(options, config.Port)
	if err != nil {
		return nil, err
	}
	return ready(client, config, port)
}

// listen starts the library on the port, or on a free one. The library tells nobody what it bound,
// and carries on when one of its two sockets fails, so that its announced address must be known
// before and the binding is looked up after.
func listen(options p2p.Config, port int) (p2p.Client, int, error) {
	for range 20 {
		chosen := port
		if chosen == 0 {
			free, err := freePort()
			if err != nil {
				return nil, 0, err
			}
			chosen = free
		}
		options.Port = chosen
		options.AnnounceAddrs = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", chosen)}
		client, err := p2p.NewClient(options)
		if err == nil && listensOn(hostOf(client), chosen) {
			return client, chosen, nil
		}
		if err == nil {
			_ = client.Close()
			err = errors.New("port in use")
		}
		if port != 0 {
			return nil, 0, fmt.Errorf("cannot listen on port %d: %w", port, err)
		}
	}
	return nil, 0, errors.New("no free port in 20 attempts")
}

func freePort() (int, error) {
	socket, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	return socket.Addr().(*net.TCPAddr).Port, nil
}

func privateKey(seed string) (crypto.PrivKey, error) {
	if seed == "" {
		return p2p.GeneratePrivateKey()
	}
	bytes, err := hex.DecodeString(seed)
	if err != nil || len(bytes) != ed25519.SeedSize {
		return nil, fmt.Errorf("seed must be %d hex digits", 2*ed25519.SeedSize)
	}
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(bytes))
}

// deadAddress is a bootstrap peer that nobody is: port 1 of loopback.
func deadAddress() string {
	key, err := privateKey("dededededededededededededededededededededededededededededededede")
	if err != nil {
		line.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		line.Fatal(err)
	}
	return "/ip4/127.0.0.1/tcp/1/p2p/" + id.String()
}

func ready(client p2p.Client, config Config, port int) (*node, error) {
	host := hostOf(client)
	n := &node{client: client, host: host}
	if config.Aloof {
		keepAloof(client)
	}
	reportConnections(host.Network())
	for _, topic := range config.Topics {
		go n.read(topic, client.Subscribe(topic))
	}
	if err := n.awaitTopics(config.Topics); err != nil {
		return nil, err
	}
	address := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/%s", port, client.GetID())
	line.Emit("ready", line.Event{"peer_id": client.GetID(), "addrs": []string{address}, "port": port, "pid": os.Getpid()})
	for _, topic := range config.Topics {
		n.watch(topic)
	}
	return n, nil
}

// awaitTopics waits until the library has joined each topic: it subscribes in the background, and a
// Publish that comes first makes the Subscribe fail for good.
func (n *node) awaitTopics(topics []string) error {
	router := routerOf(n.client)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if len(router.GetTopics()) >= len(topics) {
			return nil
		}
	}
	return fmt.Errorf("subscribed to %v only", router.GetTopics())
}

func (n *node) read(topic string, messages <-chan p2p.Message) {
	for message := range messages {
		if n.counter.Take(message.Data) {
			continue
		}
		event := line.Event{"topic": topic, "from": message.FromID, "name": message.From,
			"data_b64": message.Data, "t_us": line.NowMicros()}
		if json.Valid(message.Data) {
			event["json"] = json.RawMessage(message.Data)
		}
		line.Emit("message", event)
	}
}

func (n *node) publish(topic string, inner []byte) error {
	return n.client.Publish(context.Background(), topic, inner)
}
