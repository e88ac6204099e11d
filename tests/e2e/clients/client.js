// A client of npm that is told on its standard input what to do, and answers one line for each.
//
//   node client.js KIND MASTER PORT...     of the sentinels on loopback
//   set KEY VALUE  ->  OK, or ERR and a reason
//   where          ->  the port of the Redis that it is connected to, or 0

'use strict';

const readline = require('node:readline');

const HOST = '127.0.0.1';
const RETRY_MS = 100;
const [kind, name, ...ports] = process.argv.slice(2);
const sentinels = ports.map((port) => ({ host: HOST, port: Number(port) }));

function ioredis(failoverDetector) {
  const Redis = require('ioredis');
  const client = new Redis({
    name,
    sentinels,
    failoverDetector,
    // A command waits for the next master, however long that takes.
    maxRetriesPerRequest: null,
    retryStrategy: () => RETRY_MS,
    sentinelRetryStrategy: () => RETRY_MS,
    sentinelReconnectStrategy: () => RETRY_MS,
  });
  client.on('error', () => {});
  return {
    set: (key, value) => client.set(key, value),
    where: () => (client.status === 'ready' ? client.stream.remotePort : 0),
  };
}

async function nodeRedis() {
  const { createSentinel } = require('redis');
  const client = createSentinel({
    name,
    sentinelRootNodes: sentinels,
    passthroughClientErrorEvents: true,
  });
  client.on('error', () => {});
  client.on('client-error', () => {});
  await client.connect();
  return {
    set: (key, value) => client.set(key, value),
    where: () => client.getMasterNode()?.port ?? 0,
  };
}

const KINDS = {
  ioredis: () => ioredis(false),
  'ioredis with failoverDetector': () => ioredis(true),
  'node-redis': nodeRedis,
};

async function main() {
  const client = await KINDS[kind]();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, ...args] = line.split(' ');
    try {
      console.log(String(await client[word](...args)));
    } catch (error) {
      console.log(`ERR ${error.message}`);
    }
  }
  process.exit(0);
}

main();
