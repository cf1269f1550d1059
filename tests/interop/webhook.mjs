// Signs and verifies webhooks with Svix's own library, which sends those of incident.io:
//
//   node webhook.mjs < DELIVERIES
//
// Deliveries and answers are those of webhook.py.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// The packages are where install.sh puts them, which is no folder above this file.
const require = createRequire(new URL('../../target/interop/node/', import.meta.url));
const { Webhook } = require('svix');

function sign({ secret, id, time, body }) {
  const signature = new Webhook(secret).sign(id, new Date(Number(time) * 1000), body);
  return { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature };
}

function verify({ secret, headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

for (const line of readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
  const delivery = JSON.parse(line);
  console.log(JSON.stringify(delivery.sign ? sign(delivery) : verify(delivery)));
}
