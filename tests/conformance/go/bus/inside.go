package bus

import (
	"net"
	"reflect"
	"unsafe"

	p2p "github.com/bsv-blockchain/go-p2p-message-bus"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// The library shows neither its host nor its router. A test must know the bound port, who is
// connected and who is subscribed, so these are read from its unexported fields.

func fieldOf[T any](pointer any, name string) T { return *fieldAt[T](pointer, name) }

func fieldAt[T any](pointer any, name string) *T {
	value := reflect.ValueOf(pointer).Elem().FieldByName(name)
	return reflect.NewAt(value.Type(), unsafe.Pointer(value.UnsafeAddr())).Interface().(*T)
}

func hostOf(client p2p.Client) host.Host { return fieldOf[host.Host](client, "host") }

func routerOf(client p2p.Client) *pubsub.PubSub { return fieldOf[*pubsub.PubSub](client, "pubsub") }

// inRouter runs f where the router itself runs, and waits for it.
func inRouter(client p2p.Client, f func(*pubsub.GossipSubRouter)) {
	router := routerOf(client)
	done := make(chan struct{})
	fieldOf[chan func()](router, "eval") <- func() {
		f(fieldOf[pubsub.PubSubRouter](router, "rt").(*pubsub.GossipSubRouter))
		close(done)
	}
	<-done
}

// keepAloof makes the router graft nobody and refuse every GRAFT of a peer that dialled it. What passes then passes by IHAVE
// and IWANT alone. It leaves meshes as they are, so it has to come before the first connection.
func keepAloof(client p2p.Client) {
	inRouter(client, func(router *pubsub.GossipSubRouter) {
		params := fieldAt[pubsub.GossipSubParams](router, "params")
		params.D, params.Dlo, params.Dhi, params.Dout, params.Dscore = 0, 0, 0, 0, 0
	})
}

// meshOf lists the peers of the topic's mesh.
func meshOf(client p2p.Client, topic string) []string {
	members := []string{}
	inRouter(client, func(router *pubsub.GossipSubRouter) {
		for id := range fieldOf[map[string]map[peer.ID]struct{}](router, "mesh")[topic] {
			members = append(members, id.String())
		}
	})
	return members
}

// topicOf is the joined topic; only to be called once every Subscribe has run, since the
// library's map is then left alone.
func topicOf(client p2p.Client, name string) *pubsub.Topic {
	return fieldOf[map[string]*pubsub.Topic](client, "topics")[name]
}

func listensOn(h host.Host, port int) bool {
	for _, address := range h.Network().ListenAddresses() {
		if isTCP4(address, port) {
			return true
		}
	}
	return false
}

func isTCP4(address multiaddr.Multiaddr, port int) bool {
	plain, err := manet.ToNetAddr(address)
	if err != nil {
		return false
	}
	tcp, ok := plain.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return false
	}
	return tcp.Port == port
}
