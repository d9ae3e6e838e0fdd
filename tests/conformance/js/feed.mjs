// WebSocket clients of a feed, driven by lines of JSON. Options of the first line: url, clients
// (default 1), origin, report ("each" writes every frame, "count" only counts). The client of
// index i is named by "client": i. "match" counts and writes only frames that contain that text.
//
// Commands: pause and resume {client} stop and start reading from the socket; send {client, text};
// close {client, code}; open {clients} adds more; counts gives frames per client.
import { emit, nowMicros, serve } from './line.mjs'
import WebSocket from 'ws'

const OPEN_MS_MAX = 10_000

serve(async (config) => {
  const clients = []

  function open () {
    const index = clients.length
    const socket = new WebSocket(config.url, {
      origin: config.origin,
      handshakeTimeout: OPEN_MS_MAX,
      perMessageDeflate: config.deflate ?? false
    })
    const client = { socket, frames: 0, first: undefined, closed: undefined }
    clients.push(client)
    socket.on('message', (data, binary) => {
      if (config.match !== undefined && !data.toString().includes(config.match)) return
      client.frames += 1
      client.first ??= data.toString()
      if (config.report !== 'count') {
        emit('frame', { client: index, number: client.frames, binary, text: data.toString(), t_us: nowMicros() })
      }
    })
    socket.on('ping', () => emit('ping', { client: index }))
    socket.on('close', (code, reason) => {
      client.closed = code
      emit('closed', { client: index, code, reason: reason.toString() })
    })
    return new Promise((resolve, reject) => {
      // A client that only counts is there when its first frame is: what comes before that is not for it.
      socket.once(config.report === 'count' ? 'message' : 'open', resolve)
      socket.on('error', reject)
      socket.on('unexpected-response', (request, response) => {
        response.resume()
        reject(new Error(`HTTP status ${response.statusCode}`))
      })
    }).then(() => {
      socket.on('error', (error) => emit('socket_error', { client: index, message: error.message }))
    })
  }

  async function openMany (count) {
    await Promise.all(Array.from({ length: count }, open))
    return { clients: clients.length }
  }

  const find = ({ client }) => {
    if (clients[client] === undefined) throw new Error(`no client ${client}`)
    return clients[client]
  }

  await openMany(config.clients ?? 1)
  emit('ready', { clients: clients.length, pid: process.pid })
  return async (command) => {
    switch (command.cmd) {
      case 'pause':
        find(command).socket.pause()
        return {}
      case 'resume':
        find(command).socket.resume()
        return {}
      case 'send':
        find(command).socket.send(command.text)
        return {}
      case 'close':
        find(command).socket.close(command.code ?? 1000)
        return {}
      case 'open':
        return openMany(command.clients ?? 1)
      case 'counts':
        return {
          frames: clients.map(({ frames }) => frames),
          first: clients.map(({ first }) => first ?? null),
          closed: clients.map(({ closed }) => closed ?? null)
        }
      default:
        throw new Error(`unknown command ${command.cmd}`)
    }
  }
})
