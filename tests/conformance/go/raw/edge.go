package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"

	"peerage.invalid/conformance/line"
)

// edge is a signature at the edge of what is one, in hex.
type edge struct {
	Message   string `json:"message"`
	PubKey    string `json:"pub_key"`
	Signature string `json:"signature"`
}

// answers tells of each whether Go's crypto/ed25519 takes it.
func answers(cases []edge) (line.Event, error) {
	verified := []bool{}
	for _, e := range cases {
		message, err := hex.DecodeString(e.Message)
		if err != nil {
			return nil, err
		}
		key, err := hex.DecodeString(e.PubKey)
		if err != nil {
			return nil, err
		}
		signature, err := hex.DecodeString(e.Signature)
		if err != nil {
			return nil, err
		}
		if len(key) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("a key of %d bytes", len(key))
		}
		verified = append(verified, ed25519.Verify(key, message, signature))
	}
	return line.Event{"verified": verified}, nil
}
