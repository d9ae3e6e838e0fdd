// A js-libp2p peer with gossipsub, driven by lines of JSON. Options of the first line: seed (64 hex
// digits), name, listen (a multiaddr, or "none"), connect (multiaddrs with /p2p/ID), topics, security ("noise", "tls").
import { emit, nowMicros, serve } from './line.mjs'
import { generateKeyPair, generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify, identifyPush } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const MESSAGE_BYTES_MAX = 1 << 20

// The id that every peer of the family uses: author bytes, then the sequence number as 8 bytes.
export function messageId (message) {
  const from = message.from.toMultihash().bytes
  const id = new Uint8Array(from.length + 8)
  id.set(from)
  new DataView(id.buffer).setBigUint64(from.length, message.sequenceNumber)
  return id
}

async function createNode (config) {
  const privateKey = config.seed
    ? await generateKeyPairFromSeed('Ed25519', Buffer.from(config.seed, 'hex'))
    : await generateKeyPair('Ed25519')
  const encrypters = { noise: noise(), tls: tls() }
  return createLibp2p({
    privateKey,
    addresses: { listen: config.listen === 'none' ? [] : [config.listen ?? '/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: (config.security ?? ['noise', 'tls']).map((name) => encrypters[name]),
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false }, // loopback is what the tests are made of
    services: {
      identify: identify({ agentVersion: 'peerage-conformance-js', protocolPrefix: 'ipfs' }),
      identifyPush: identifyPush(),
      ping: ping(),
      pubsub: gossipsub({
        globalSignaturePolicy: 'StrictSign',
        msgIdFn: messageId,
        allowPublishToZeroTopicPeers: true,
        fallbackToFloodsub: true,
        floodPublish: false,
        seenTTL: 120_000,
        maxInboundDataLength: MESSAGE_BYTES_MAX
      })
    }
  })
}

function reportConnections (node) {
  node.addEventListener('connection:open', ({ detail }) => emit('connected', {
    peer: detail.remotePeer.toString(),
    addr: detail.remoteAddr.toString(),
    direction: detail.direction,
    security: detail.encryption,
    muxer: detail.multiplexer
  }))
  node.addEventListener('connection:close', ({ detail }) => emit('disconnected', {
    peer: detail.remotePeer.toString(),
    left: node.getConnections(detail.remotePeer).length
  }))
  node.addEventListener('peer:identify', ({ detail }) => emit('identify', {
    peer: detail.peerId.toString(),
    agent: detail.agentVersion,
    protocol_version: detail.protocolVersion,
    protocols: [...detail.protocols].sort(),
    listen_addrs: detail.listenAddrs.map(String),
    signed_record: detail.signedPeerRecord != null
  }))
}

function reportTopics (node, topics) {
  const { pubsub } = node.services
  pubsub.addEventListener('subscription-change', ({ detail }) => {
    for (const { topic, subscribe } of detail.subscriptions) {
      emit(subscribe ? 'subscribed' : 'unsubscribed', { topic, peer: detail.peerId.toString() })
    }
  })
  pubsub.addEventListener('gossipsub:graft', ({ detail }) => emit('graft', { topic: detail.topic, peer: detail.peerId }))
  pubsub.addEventListener('gossipsub:message', ({ detail }) => report(node, detail))
  for (const topic of topics) pubsub.subscribe(topic)
}

function report (node, { msg, propagationSource, msgId }) {
  if (msg.type !== 'signed' || msg.from.equals(node.peerId)) return
  const event = {
    topic: msg.topic,
    from: msg.from.toString(),
    via: propagationSource.toString(),
    message_id: msgId,
    payload_b64: Buffer.from(msg.data).toString('base64'),
    t_us: nowMicros()
  }
  try {
    const envelope = JSON.parse(Buffer.from(msg.data).toString())
    event.name = envelope.name
    event.data_b64 = envelope.data
    event.json = JSON.parse(Buffer.from(envelope.data, 'base64').toString())
  } catch {} // reported as a payload alone
  emit('message', event)
}

// The inner message is "data_b64", or "json" (encoded anew); "payload_b64" goes without envelope.
function payloadOf (command, name) {
  if (command.payload_b64 !== undefined) return Buffer.from(command.payload_b64, 'base64')
  const inner = command.data_b64 ?? Buffer.from(JSON.stringify(command.json)).toString('base64')
  return Buffer.from(JSON.stringify({ name, data: inner }))
}

serve(async (config) => {
  const node = await createNode(config)
  reportConnections(node)
  reportTopics(node, config.topics ?? [])
  for (const address of config.connect ?? []) await node.dial(multiaddr(address))
  emit('ready', { peer_id: node.peerId.toString(), addrs: node.getMultiaddrs().map(String), pid: process.pid })
  const name = config.name ?? 'js'
  return async (command) => {
    switch (command.cmd) {
      case 'publish': {
        const { recipients } = await node.services.pubsub.publish(command.topic, payloadOf(command, name))
        return { recipients: recipients.map(String) }
      }
      case 'connect':
        await node.dial(multiaddr(command.addr))
        return {}
      case 'disconnect':
        await node.hangUp(peerIdFromString(command.peer))
        return {}
      case 'ping':
        return { rtt_us: 1000 * await node.services.ping.ping(peerIdFromString(command.peer)) }
      case 'peers':
        return { connected: node.getPeers().map(String) }
      default:
        throw new Error(`unknown command ${command.cmd}`)
    }
  }
})
