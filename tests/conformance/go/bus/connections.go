package bus

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/network"

	"peerage.invalid/conformance/line"
)

// reportConnections writes "connected" and "disconnected" once for each connection, those made
// before this call included.
func reportConnections(net network.Network) {
	var known sync.Map
	connected := func(c network.Conn) {
		if _, twice := known.LoadOrStore(c.ID(), true); twice {
			return
		}
		state := c.ConnState()
		line.Emit("connected", line.Event{"peer": c.RemotePeer().String(), "addr": c.RemoteMultiaddr().String(),
			"direction": c.Stat().Direction.String(), "security": string(state.Security),
			"muxer": string(state.StreamMultiplexer), "early_muxer": state.UsedEarlyMuxerNegotiation})
	}
	net.Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) { connected(c) },
		DisconnectedF: func(net network.Network, c network.Conn) {
			line.Emit("disconnected", line.Event{"peer": c.RemotePeer().String(), "left": len(net.ConnsToPeer(c.RemotePeer()))})
		},
	})
	for _, c := range net.Conns() {
		connected(c)
	}
}
