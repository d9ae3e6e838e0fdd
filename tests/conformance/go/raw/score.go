package main

import (
	"fmt"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"peerage.invalid/conformance/line"
)

// scores keeps what the router thinks of each peer, and the worst that it ever thought.
type scores struct {
	mu    sync.Mutex
	looks int
	now   map[peer.ID]*pubsub.PeerScoreSnapshot
	worst map[peer.ID]float64
}

const inspectEvery = 100 * time.Millisecond

// scoring makes the router keep scores in which nothing good makes up for anything bad: a score is 0, or below.
// Peers are exchanged on PRUNE.
func (s *scores) scoring(topics []string) []pubsub.Option {
	params := &pubsub.PeerScoreParams{
		SkipAtomicValidation:        true,
		Topics:                      map[string]*pubsub.TopicScoreParams{},
		IPColocationFactorWeight:    -100,
		IPColocationFactorThreshold: 1,
		BehaviourPenaltyWeight:      -100,
		BehaviourPenaltyThreshold:   0,
		BehaviourPenaltyDecay:       0.99,
		DecayInterval:               time.Second,
		DecayToZero:                 0.01,
		RetainScore:                 time.Hour,
		AppSpecificScore:            func(peer.ID) float64 { return 0 },
	}
	for _, topic := range topics {
		params.Topics[topic] = &pubsub.TopicScoreParams{
			SkipAtomicValidation: true, TopicWeight: 1,
			// What is invalid weighs and is hardly forgotten.
			InvalidMessageDeliveriesWeight: -100, InvalidMessageDeliveriesDecay: 0.999,
			TimeInMeshQuantum: time.Second,
		}
	}
	thresholds := &pubsub.PeerScoreThresholds{GossipThreshold: -1, PublishThreshold: -2, GraylistThreshold: -3}
	return []pubsub.Option{
		pubsub.WithPeerScore(params, thresholds), pubsub.WithPeerScoreInspect(s.inspect, inspectEvery),
		pubsub.WithPeerExchange(true),
	}
}

func (s *scores) inspect(now map[peer.ID]*pubsub.PeerScoreSnapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	s.now = now
	for id, snapshot := range now {
		s.worst[id] = min(s.worst[id], snapshot.Score)
	}
}

// report tells the scores. "looks" is how often they were looked at.
func (s *scores) report() (line.Event, error) {
	if s == nil {
		return nil, fmt.Errorf("no scores are kept; start with score")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	peers := line.Event{}
	for id, snapshot := range s.now {
		invalid, inMesh := 0.0, 0
		for _, topic := range snapshot.Topics {
			invalid += topic.InvalidMessageDeliveries
			if topic.TimeInMesh > 0 {
				inMesh++
			}
		}
		peers[id.String()] = line.Event{"score": snapshot.Score, "worst": s.worst[id],
			"behaviour": snapshot.BehaviourPenalty, "colocation": snapshot.IPColocationFactor, "invalid": invalid,
			"meshes": inMesh}
	}
	return line.Event{"looks": s.looks, "peers": peers}, nil
}
