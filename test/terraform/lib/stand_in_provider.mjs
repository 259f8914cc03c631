// A stand-in for the Google provider's plugin: it has the published schema and nothing else. With it terraform itself can
// init, validate and run tests with a mocked provider on a machine that reaches no provider registry. It makes nothing and
// reads nothing: a plan or apply without mocks ends in "unimplemented".
//
// Argument: the schema file. terraform starts it, reads the handshake line, and ends it by Shutdown.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(new URL('../../wire/node/package.json', import.meta.url)); // gRPC comes with the wire tests
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const schema = JSON.parse(fs.readFileSync(process.argv[2]));
const load = (name) => grpc.loadPackageDefinition(loader.loadSync(fileURLToPath(new URL(name, import.meta.url)), { keepCase: true }));

const attribute = (name, type, flags) => ({ name, type: Buffer.from(JSON.stringify(type)), ...flags });

function toBlock(block) {
  const settable = Object.entries(block.arguments).map(([name, { type, required }]) =>
    attribute(name, type, required ? { required } : { optional: true, computed: name === 'id' }));
  const computed = Object.entries(block.computed ?? {}).map(([name, type]) => attribute(name, type, { computed: true }));
  const nested = Object.entries(block.blocks).map(([name, { many, required, block: inner }]) => ({
    type_name: name,
    block: toBlock(inner),
    nesting: name === 'timeouts' ? 'SINGLE' : 'LIST',
    min_items: name !== 'timeouts' && required ? 1 : 0,
    max_items: many || name === 'timeouts' ? 0 : 1,
  }));
  return { version: 0, attributes: [...settable, ...computed], block_types: nested };
}

const toSchemas = (group) => Object.fromEntries(Object.entries(group).map(([name, block]) => [name, { version: 0, block: toBlock(block) }]));
const answer = (value) => (call, callback) => callback(null, typeof value === 'function' ? value(call.request) : value);

const server = new grpc.Server();
server.addService(load('tfplugin5.proto').tfplugin5.Provider.service, {
  GetSchema: answer({ provider: { version: 0, block: toBlock(schema.configuration) }, resource_schemas: toSchemas(schema.resources), data_source_schemas: toSchemas(schema.data) }),
  PrepareProviderConfig: answer((request) => ({ prepared_config: request.config })),
  ValidateResourceTypeConfig: answer({ diagnostics: [] }),
  ValidateDataSourceConfig: answer({ diagnostics: [] }),
  Stop: answer({}),
});
server.addService(load('plugin.proto').plugin.GRPCController.service, {
  Shutdown(call, callback) {
    callback(null, {});
    setImmediate(() => process.exit(0));
  },
});
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`1|5|tcp|127.0.0.1:${port}|grpc\n`);
});
