// A client of pool-server for Node: a pool of connections, requests sent ahead, time-outs, and further tries.
//
//   const { Pool } = require('./pool-client.js');
//   console.log(await new Pool('localhost:9090').ask('good data'));
//
// pool-server(7) has the reasons. `node pool-client.js ADDRESS [TIMEOUT [SIZE]]` answers the lines of its input.
'use strict';
const { once } = require('events');
const net = require('net');
const readline = require('readline');
const sleep = require('timers/promises').setTimeout;

const NOT_NOW = ['server busy', 'waited too long', 'no worker available'];
// Said of a connection, which is closed then: nothing that is still owed on it has been run.
const LAST_WORDS = ['too many connections', 'too many connections from this client', 'idle for too long',
  'request not completed in time'];
const BROKEN = 'the connection broke';
const MOST_BREAKS = 5; // a request may be what ends the server: it is not sent for ever
const MOST_LATE = 4; // a connection on which so many replies are owed to nobody any more is given up

/** The reply is an error, and would be again. */
class ServerError extends Error {}
class TimeoutError extends Error {}

/** @param {number} tries @returns {number} ms before the next one, not the same for all that were refused at once */
const delay = (tries) => Math.min(50 * 2 ** tries, 2000) * (0.5 + Math.random() / 2);

/** @typedef {{line: string, on?: Connection, settled: boolean, settle: (reply: string) => void}} Request */

/** Replies go to requests in the order in which these were sent, whether anybody still waits for them or not. */
class Connection {
  /** @type {Request[]} */ owed = [];
  begun = Buffer.alloc(0);
  late = 0;
  proved = false;

  /** @param {Pool} pool @param {net.Socket} socket */
  constructor(pool, socket) {
    this.pool = pool;
    this.socket = socket.setNoDelay();
    socket.on('data', (data) => this.receive(data));
    socket.on('error', () => this.end(BROKEN)).on('end', () => this.end(BROKEN));
  }

  /** @param {Request} request */
  send(request) {
    request.on = this;
    this.owed.push(request);
    this.socket.write(request.line);
  }

  /** @param {Buffer} data */
  receive(data) {
    this.begun = Buffer.concat([this.begun, data]);
    for (let at; (at = this.begun.indexOf('\n')) >= 0; this.begun = this.begun.subarray(at + 1)) {
      const text = this.begun.toString('utf8', 0, at);
      if (LAST_WORDS.includes(text.replace('ERROR: ', ''))) return this.end(text);
      const request = this.owed.shift();
      if (!request || !/^(result|ERROR): /.test(text)) return this.end(BROKEN); // no reply to what was asked
      if (!this.proved) this.pool.failures = 0;
      this.proved = true;
      if (request.settled) this.late--;
      request.settle(text);
    }
    if (this.begun.length > this.pool.maxReply + 'result: '.length) return this.end(BROKEN);
    this.pool.sendWaiting();
  }

  /** Ends it by a reset, so that the server does not go on with what nobody waits for. @param {string} reply */
  end(reply) {
    if (!this.pool.connections.delete(this)) return;
    if (!this.proved) this.pool.failures++;
    if (this.pool.address.path) this.socket.destroy();
    else this.socket.resetAndDestroy();
    for (const request of this.owed) request.settle(reply);
    this.pool.sendWaiting();
  }
}

/** Connections to HOST:PORT or the /PATH of a unix socket, made when they are needed. */
class Pool {
  /** @type {Set<Connection>} */ connections = new Set();
  /** @type {Request[]} */ waiting = [];
  connecting = false;
  failures = 0; // connections in a row that came to nothing

  /** @param {string} address @param {{timeout?: number, size?: number, pipeline?: number, maxLine?: number,
   *    maxReply?: number}} options times in ms, sizes in bytes */
  constructor(address, { timeout = 10000, size = 4, pipeline = 16, maxLine = 65536, maxReply = 65536 } = {}) {
    const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? [];
    this.address = address.startsWith('/') ? { path: address } : { host, port: Number(port) };
    this.timeout = timeout;
    this.size = size;
    this.pipeline = pipeline;
    this.maxLine = maxLine;
    this.maxReply = maxReply;
  }

  /** @param {string} request @returns {Promise<string>} Fails with a ServerError, TimeoutError, Error of what broke,
   *    or RangeError of what cannot be sent. */
  async ask(request) {
    if (/^(STATS)?$|\n|\r$/.test(request) || Buffer.byteLength(request) > this.maxLine) {
      throw new RangeError('that is empty, STATS, more than a line, ends with a CR, or is too long');
    }
    const over = performance.now() + this.timeout;
    for (let tries = 0, breaks = 0; ; tries++) {
      const reply = await this.#once(request + '\n', over);
      const [, kind, text] = /^(\w+): (.*)$/s.exec(reply) ?? [];
      if (kind === 'result') return text;
      if (kind && !NOT_NOW.includes(text) && !LAST_WORDS.includes(text)) throw new ServerError(text);
      if (reply === BROKEN && ++breaks === MOST_BREAKS) throw new Error(BROKEN);
      await sleep(Math.max(0, Math.min(delay(tries), over - performance.now())));
    }
  }

  /** @param {string} line @param {number} over @returns {Promise<string>} the reply line, or BROKEN */
  #once(line, over) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        request.settled = true;
        reject(new TimeoutError(`no result within ${this.timeout} ms`));
        if (request.on && ++request.on.late >= MOST_LATE) request.on.end(BROKEN);
      }, Math.max(0, over - performance.now()));
      /** @type {Request} */
      const request = { line, settled: false, settle: (reply) => {
        request.settled = true;
        clearTimeout(timer);
        resolve(reply);
      } };
      this.waiting.push(request);
      this.sendWaiting();
    });
  }

  /** Sends what waits on the connection that owes least, and makes another one while each owes something. */
  sendWaiting() {
    while (this.waiting.length > 0) {
      if (this.waiting[0].settled) { // its time is over
        this.waiting.shift();
        continue;
      }
      const best = [...this.connections].sort((a, b) => a.owed.length - b.owed.length)[0];
      if ((!best || best.owed.length > 0) && this.connections.size < this.size && !this.connecting) this.#connect();
      if (!best || best.owed.length >= this.pipeline) return;
      best.send(/** @type {Request} */ (this.waiting.shift()));
    }
  }

  async #connect() {
    this.connecting = true;
    await sleep(this.failures ? delay(this.failures) : 0);
    const socket = net.connect(this.address);
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(this.timeout) });
      this.connections.add(new Connection(this, socket));
    } catch {
      socket.destroy();
      this.failures++;
    }
    this.connecting = false;
    this.sendWaiting();
  }

  close() {
    for (const connection of this.connections) connection.end(BROKEN);
  }
}

/** @param {string} address */
async function main(address, timeout = '10', size = '4') {
  const pool = new Pool(address, { timeout: 1000 * Number(timeout), size: Number(size) });
  const answers = [Promise.resolve()];
  /** @param {string} line @param {Promise<void> | undefined} before */
  const answer = async (line, before) => {
    const told = await pool.ask(line).then((text) => `result: ${text}`,
      (error) => (error instanceof ServerError ? `ERROR: ${error.message}` : `FAILED: ${error.message}`));
    await before;
    console.log(told);
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (answers.length > 100) await answers.shift();
    answers.push(answer(line, answers.at(-1)));
  }
  await answers.at(-1);
  pool.close();
}

module.exports = { Pool, ServerError, TimeoutError };
if (require.main === module) main(process.argv[2], process.argv[3], process.argv[4]);
