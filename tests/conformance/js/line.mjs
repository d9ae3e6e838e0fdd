// What every JS peer of the conformance tests shares: a line of JSON in for each command, a line
// of JSON out for each event.
import readline from 'node:readline'

// libp2p uses what Node 20 does not have yet.
Promise.withResolvers ??= function withResolvers () {
  let resolve, reject
  const promise = new Promise((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}

export function emit (event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

export const nowMicros = () => Math.round((performance.timeOrigin + performance.now()) * 1000)

function fatal (error) {
  emit('fatal', { message: String(error?.message ?? error) })
  console.error(error)
  process.exit(1)
}

process.on('uncaughtException', fatal)
process.on('unhandledRejection', fatal)
process.stdout.on('error', () => process.exit(0)) // the reader is gone

// The first line goes to start(config), which answers handle(command); each later line is a
// command, answered by "done" or "failed" with its id. Ends when standard input closes.
export function serve (start) {
  const lines = readline.createInterface({ input: process.stdin })
  let handle
  lines.on('close', () => process.exit(0))
  lines.on('line', (text) => {
    const message = JSON.parse(text)
    if (handle === undefined) {
      handle = start(message)
      handle.catch(fatal)
      return
    }
    if (message.cmd === 'stop') process.exit(0)
    handle.then(async (run) => {
      try {
        emit('done', { cmd: message.cmd, id: message.id, ...await run(message) })
      } catch (error) {
        emit('failed', { cmd: message.cmd, id: message.id, message: String(error?.message ?? error) })
      }
    })
  })
}
