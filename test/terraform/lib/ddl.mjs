// The DDL that a table or view of terraform amounts to, so that it can be compared with the DDL of the product as text.
const TYPES = { INTEGER: 'INT64', FLOAT: 'FLOAT64', BOOLEAN: 'BOOL' };
const DAY_MS = 86400000;

const sqlString = (text) => `'${text.replace(/[\\']/g, '\\$&').replace(/\n/g, '\\n')}'`;

function typeOf({ type, mode, fields }) {
  const inner = type === 'RECORD' ? `STRUCT<${fields.map((field) => `\`${field.name}\` ${typeOf(field)}`).join(', ')}>` : TYPES[type] ?? type;
  return mode === 'REPEATED' ? `ARRAY<${inner}>` : inner;
}

function columnOf(column) {
  const parts = [`\`${column.name}\` ${typeOf(column)}`];
  if (column.defaultValueExpression) parts.push(`DEFAULT ${column.defaultValueExpression}`);
  if (column.mode === 'REQUIRED') parts.push('NOT NULL');
  if (column.description) parts.push(`OPTIONS(description=${sqlString(column.description)})`);
  return parts.join(' ');
}

function partitionOf({ type, field }, schema) {
  if (type === 'HOUR') return `\nPARTITION BY TIMESTAMP_TRUNC(\`${field}\`, HOUR)`;
  const isDate = schema.find(({ name }) => name === field).type === 'DATE';
  return isDate ? `\nPARTITION BY \`${field}\`` : `\nPARTITION BY DATE(\`${field}\`)`;
}

// table: { project, dataset, name, description, schema, partitioning: { type, field, expiration_ms } | null, clustering }
export function tableDdl({ project, dataset, name, description, schema, partitioning, clustering }) {
  const options = [`description=${sqlString(description)}`];
  if (partitioning?.expiration_ms) options.push(`partition_expiration_days=${partitioning.expiration_ms / DAY_MS}`);
  return `CREATE TABLE IF NOT EXISTS \`${project}.${dataset}.${name}\` (\n  ${schema.map(columnOf).join(',\n  ')}\n)`
    + (partitioning ? partitionOf(partitioning, schema) : '')
    + (clustering.length ? `\nCLUSTER BY ${clustering.map((column) => `\`${column}\``).join(', ')}` : '')
    + `\nOPTIONS(${options.join(', ')})`;
}

export const viewDdl = ({ project, dataset, name, description, query }) =>
  `CREATE OR REPLACE VIEW \`${project}.${dataset}.${name}\`\nOPTIONS(description=${sqlString(description)})\nAS ${query}`;

export const datasetDdl = ({ project, dataset, description }) =>
  `CREATE SCHEMA IF NOT EXISTS \`${project}.${dataset}\` OPTIONS(description=${sqlString(description)})`;
