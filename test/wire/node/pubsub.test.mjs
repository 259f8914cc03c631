// Google's own Node client drives the local Pub/Sub server: publish, streaming pull, flow control, lease extension, dead letters,
// Pull, administration and refusals. Needs PUBSUB_EMULATOR_HOST and PUBSUB_PROJECT_ID of a running st-local.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import pubsubPackage from '@google-cloud/pubsub';

const { PubSub, v1 } = pubsubPackage;
const projectId = process.env.PUBSUB_PROJECT_ID;
assert.ok(process.env.PUBSUB_EMULATOR_HOST, 'PUBSUB_EMULATOR_HOST is not set: start st-local first');
const LIMIT = { timeout: 60_000 };
const GRPC = { INVALID_ARGUMENT: 3, NOT_FOUND: 5, ALREADY_EXISTS: 6, UNIMPLEMENTED: 12 };

let pubsub, subscriberClient, publisherClient;
let names = 0;
const unique = (what) => `${what}-${process.pid}-${++names}`;

before(async () => {
  pubsub = new PubSub({ projectId });
  const options = await pubsub.getClientConfig();
  subscriberClient = new v1.SubscriberClient(options);
  publisherClient = new v1.PublisherClient(options);
});
after(async () => {
  await Promise.all([subscriberClient.close(), publisherClient.close(), pubsub.close()]);
});

async function makeLane(options = {}) {
  const [topic] = await pubsub.createTopic(unique('topic'));
  const [subscription] = await topic.createSubscription(unique('sub'), options);
  return { topic, subscription };
}

/** Collects messages until `done(messages)`; each goes through `handle` first. */
function collect(subscription, done, handle = (message) => message.ack()) {
  const messages = [];
  return new Promise((resolve, reject) => {
    subscription.on('error', reject);
    subscription.on('message', async (message) => {
      messages.push(message);
      await handle(message, messages);
      if (done(messages)) subscription.close().then(() => resolve(messages), reject);
    });
  });
}

const rejectsWith = (promise, code, text) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message);
    if (text) assert.match(error.message, text);
    return true;
  });

test('500 messages with attributes arrive once each and stay acked', LIMIT, async () => {
  const { topic, subscription } = await makeLane();
  const ids = await Promise.all(
    Array.from({ length: 500 }, (_, i) => topic.publishMessage({ data: Buffer.from(`m${i}`), attributes: { n: String(i) } })),
  );
  const messages = await collect(subscription, (all) => all.length === 500);
  assert.deepEqual(new Set(messages.map((m) => m.id)), new Set(ids));
  for (const message of messages) {
    assert.equal(message.data.toString(), `m${message.attributes.n}`);
    assert.ok(Math.abs(Date.now() - message.publishTime.getTime()) < 3_600_000);
    assert.equal(message.deliveryAttempt, 0, 'no dead-letter policy, no attempts');
  }
  const [{ receivedMessages }] = await subscriberClient.pull({ subscription: subscription.name, maxMessages: 10, returnImmediately: true });
  assert.equal(receivedMessages.length, 0);
});

test('a message that is nacked goes to the dead-letter topic with the attributes of the service', LIMIT, async () => {
  const [dead] = await pubsub.createTopic(unique('dead'));
  const [deadSubscription] = await dead.createSubscription(unique('dead-sub'));
  const { topic, subscription } = await makeLane({
    deadLetterPolicy: { deadLetterTopic: dead.name, maxDeliveryAttempts: 5 },
    retryPolicy: { minimumBackoff: { nanos: 50_000_000 }, maximumBackoff: { nanos: 100_000_000 } },
  });
  const id = await topic.publishMessage({ data: Buffer.from('poison'), attributes: { kept: 'yes' } });
  const attempts = await collect(subscription, (all) => all.length === 5, (message) => message.nack());
  assert.deepEqual(attempts.map((m) => m.deliveryAttempt), [1, 2, 3, 4, 5]);
  assert.equal(new Set(attempts.map((m) => m.ackId)).size, 5, 'every delivery has an ack id of its own');

  const [letter] = await collect(deadSubscription, (all) => all.length === 1);
  const source = 'CloudPubSubDeadLetterSource';
  assert.equal(letter.data.toString(), 'poison');
  assert.notEqual(letter.id, id);
  assert.equal(letter.attributes.kept, 'yes');
  assert.equal(letter.attributes[`${source}DeliveryCount`], '5');
  assert.equal(letter.attributes[`${source}Subscription`], subscription.name.split('/').at(-1));
  assert.equal(letter.attributes[`${source}SubscriptionProject`], projectId);
  assert.match(letter.attributes[`${source}TopicPublishTime`], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$/);
});

test('the server holds back what exceeds maxMessages', LIMIT, async () => {
  const { topic, subscription } = await makeLane();
  const limited = topic.subscription(subscription.name, { flowControl: { maxMessages: 3, allowExcessMessages: false }, streamingOptions: { maxStreams: 1 } });
  await Promise.all(Array.from({ length: 12 }, (_, i) => topic.publishMessage({ data: Buffer.from(`${i}`) })));
  let allHeld;
  const held = [];
  const three = new Promise((resolve) => (allHeld = resolve));
  limited.on('message', (message) => {
    held.push(message);
    if (held.length === 3) allHeld();
  });
  await three;
  // The stream has its three. All others are still the server's to give: a Pull gets every one of them.
  const rest = [];
  while (rest.length < 9) {
    const [{ receivedMessages }] = await subscriberClient.pull({ subscription: subscription.name, maxMessages: 100 });
    rest.push(...receivedMessages);
  }
  assert.equal(held.length, 3);
  assert.equal(new Set([...held.map((m) => m.id), ...rest.map((r) => r.message.messageId)]).size, 12);
  await subscriberClient.modifyAckDeadline({ subscription: subscription.name, ackIds: rest.map((r) => r.ackId), ackDeadlineSeconds: 0 });
  const late = new Promise((resolve) => limited.on('message', () => held.length === 12 && resolve()));
  limited.on('message', (message) => message.ack());
  held.slice(0, 3).forEach((message) => message.ack());
  await late;
  await limited.close();
});

test('a lease is extended while the handler works longer than the ack deadline', { timeout: 90_000 }, async () => {
  const { topic, subscription } = await makeLane({ ackDeadlineSeconds: 10 });
  await topic.publishMessage({ data: Buffer.from('slow') });
  const messages = await collect(subscription, () => true, async (message) => {
    await new Promise((resolve) => setTimeout(resolve, 13_000));
    message.ack();
  });
  assert.equal(messages.length, 1);
  const [{ receivedMessages }] = await subscriberClient.pull({ subscription: subscription.name, maxMessages: 1, returnImmediately: true });
  assert.equal(receivedMessages.length, 0, 'it was delivered once only');
});

test('a lease that runs out is redelivered, and its old ack id does nothing', LIMIT, async () => {
  const { topic, subscription } = await makeLane({ ackDeadlineSeconds: 10 });
  await topic.publishMessage({ data: Buffer.from('again') });
  const name = subscription.name;
  const [first] = await subscriberClient.pull({ subscription: name, maxMessages: 5 });
  await subscriberClient.modifyAckDeadline({ subscription: name, ackIds: [first.receivedMessages[0].ackId], ackDeadlineSeconds: 1 });
  const [second] = await subscriberClient.pull({ subscription: name, maxMessages: 5 });
  assert.equal(second.receivedMessages[0].message.messageId, first.receivedMessages[0].message.messageId);
  assert.notEqual(second.receivedMessages[0].ackId, first.receivedMessages[0].ackId);
  await subscriberClient.acknowledge({ subscription: name, ackIds: [first.receivedMessages[0].ackId] });
  await subscriberClient.modifyAckDeadline({ subscription: name, ackIds: [second.receivedMessages[0].ackId], ackDeadlineSeconds: 0 });
  const [third] = await subscriberClient.pull({ subscription: name, maxMessages: 5 });
  assert.equal(third.receivedMessages.length, 1, 'the stale ack removed nothing');
  await subscriberClient.acknowledge({ subscription: name, ackIds: [third.receivedMessages[0].ackId] });
  const [none] = await subscriberClient.pull({ subscription: name, maxMessages: 5, returnImmediately: true });
  assert.equal(none.receivedMessages.length, 0);
});

test('a waiting Pull gets the message that is published meanwhile', LIMIT, async () => {
  const { topic, subscription } = await makeLane();
  const pull = subscriberClient.pull({ subscription: subscription.name, maxMessages: 10 });
  const id = await topic.publishMessage({ data: Buffer.from('now') });
  const [{ receivedMessages }] = await pull;
  assert.deepEqual(receivedMessages.map((r) => r.message.messageId), [id]);
});

test('protocol errors end the stream with INVALID_ARGUMENT, pings are answered with properties', LIMIT, async () => {
  const { subscription } = await makeLane();
  const open = () => {
    const stream = subscriberClient.streamingPull();
    stream.write({ subscription: subscription.name, streamAckDeadlineSeconds: 10 });
    return stream;
  };
  const bad = [
    { subscription: subscription.name },
    { maxOutstandingMessages: 5 },
    { modifyDeadlineSeconds: [5], modifyDeadlineAckIds: [] },
    { ackIds: ['nonsense'] },
    { streamAckDeadlineSeconds: 5 },
  ];
  for (const request of bad) {
    const stream = open();
    stream.on('data', () => {});
    stream.write(request);
    const [error] = await once(stream, 'error').catch((e) => [e]);
    assert.equal(error.code, GRPC.INVALID_ARGUMENT, JSON.stringify(request));
  }
  const stream = open();
  stream.on('error', () => {});
  for (let i = 0; i < 3; i++) {
    const [response] = await once(stream, 'data');
    assert.deepEqual(response.receivedMessages, []);
    assert.equal(response.subscriptionProperties.exactlyOnceDeliveryEnabled, false);
    stream.write({});
  }
  stream.cancel();
});

test('administration: get, list by pages, update by mask, delete', LIMIT, async () => {
  const { topic, subscription } = await makeLane({ labels: { team: 'data' } });
  const more = await Promise.all([1, 2, 3].map(() => topic.createSubscription(unique('more'))));
  const all = [];
  for (let pageToken = ''; ; ) {
    const [page, , response] = await publisherClient.listTopicSubscriptions({ topic: topic.name, pageSize: 3, pageToken }, { autoPaginate: false });
    assert.ok(page.length <= 3);
    all.push(...page);
    if (!(pageToken = response.nextPageToken)) break;
  }
  assert.deepEqual(new Set(all), new Set([subscription.name, ...more.map(([s]) => s.name)]));

  const [changed] = await subscriberClient.updateSubscription({
    subscription: { name: subscription.name, ackDeadlineSeconds: 42, labels: { ignored: 'yes' } },
    updateMask: { paths: ['ack_deadline_seconds'] },
  });
  assert.equal(changed.ackDeadlineSeconds, 42);
  assert.deepEqual(changed.labels, { team: 'data' });
  assert.equal(changed.messageRetentionDuration.seconds, '604800');

  await topic.delete();
  const [left] = await subscription.getMetadata();
  assert.equal(left.topic, '_deleted-topic_');
  await subscription.delete();
  await rejectsWith(subscription.getMetadata(), GRPC.NOT_FOUND, /Resource not found/);
  await rejectsWith(topic.publishMessage({ data: Buffer.from('x') }), GRPC.NOT_FOUND);
});

test('what is not supported or not legal is refused with a reason', LIMIT, async () => {
  const { topic } = await makeLane();
  const create = (options) => topic.createSubscription(unique('refused'), options);
  await rejectsWith(create({ enableMessageOrdering: true }), GRPC.UNIMPLEMENTED, /ordering/);
  await rejectsWith(create({ filter: 'attributes:a' }), GRPC.UNIMPLEMENTED, /filter/);
  await rejectsWith(create({ enableExactlyOnceDelivery: true }), GRPC.UNIMPLEMENTED, /exactly-once/);
  await rejectsWith(create({ pushConfig: { pushEndpoint: 'https://example.com/push' } }), GRPC.UNIMPLEMENTED, /push/);
  await rejectsWith(create({ bigqueryConfig: { table: 'p.d.t' } }), GRPC.UNIMPLEMENTED, /bigquery_config/);
  await rejectsWith(create({ ackDeadlineSeconds: 601 }), GRPC.INVALID_ARGUMENT, /601/);
  await rejectsWith(pubsub.createTopic(topic.name), GRPC.ALREADY_EXISTS);
  await rejectsWith(pubsub.createTopic('goog-topic'), GRPC.INVALID_ARGUMENT);
  await rejectsWith(topic.publishMessage({ data: Buffer.alloc(0) }), GRPC.INVALID_ARGUMENT, /non-empty data/);
  await rejectsWith(topic.publishMessage({ data: Buffer.from('x'), attributes: { googKey: 'v' } }), GRPC.INVALID_ARGUMENT, /goog/);
  await rejectsWith(subscriberClient.createSnapshot({ name: `projects/${projectId}/snapshots/snap`, subscription: `projects/${projectId}/subscriptions/any` }), GRPC.UNIMPLEMENTED, /CreateSnapshot/);
});
