// Signs and verifies webhooks with the library of Svix, the service that sends those of incident.io:
//
//   node webhook.mjs < DELIVERIES
//
// Deliveries and responses have the format of webhook.py.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// install.sh puts the packages in a folder that Node would not search.
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
