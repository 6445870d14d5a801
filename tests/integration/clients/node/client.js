// node-postgres: unnamed and named statements, a pool, notices, LISTEN.
const { Client, Pool } = require('pg');

const show = (result) => JSON.stringify([result.command, result.rowCount, (result.fields || []).map((f) => [f.name, f.dataTypeID]), result.rows]);

async function ask(client, text, values, name) {
  try {
    const result = await client.query(name ? { name, text, values } : { text, values });
    console.log(Array.isArray(result) ? result.map(show).join(' ') : show(result));
  } catch (error) {
    console.log('error', error.code, error.message, error.detail);
  }
}

async function main() {
  const client = new Client();
  const notices = [];
  const heard = [];
  client.on('notice', (notice) => notices.push([notice.code, notice.message]));
  client.on('notification', (n) => heard.push([n.channel, n.payload]));
  await client.connect();
  await ask(client, "SELECT 1 AS a, 2::int8 AS b, 1.50::numeric AS c, 'x'::text AS d, true AS e, NULL AS f, '{1,2}'::int[] AS g, '{\"a\":1}'::jsonb AS h");
  for (let key = 1; key <= 6; key++) {
    await ask(client, 'INSERT INTO account (id, owner, balance, flags, info) VALUES ($1, $2, $3, $4, $5) RETURNING *',
      [key, `owner ${key}`, '10.25', [key, null], { k: key }]);
  }
  for (const key of [1, 2, 3, 1, 2, 3, 99]) {
    await ask(client, 'SELECT id, owner, flags FROM account WHERE id = $1', [key], 'get');
    await ask(client, 'SELECT owner FROM account WHERE id = $1', [key]);
  }
  await ask(client, 'INSERT INTO account (id, owner) VALUES ($1, $2)', [1, 'again']);
  await ask(client, 'SELEC 1');
  await ask(client, 'SELECT * FROM nowhere WHERE id = $1', [1], 'bad');
  await ask(client, 'SELECT 1 / $1::int', [0]);
  await ask(client, "SELECT 1 AS a; SELECT 'two' AS b");
  await ask(client, 'BEGIN');
  for (let n = 0; n < 10; n++) await ask(client, 'INSERT INTO entry VALUES (3, $1, $2)', [n, `w${n}`], 'add');
  await ask(client, 'SAVEPOINT s');
  await ask(client, 'INSERT INTO entry VALUES (3, $1, $2)', [1, 'twice'], 'add');
  await ask(client, 'SELECT 1');
  await ask(client, 'ROLLBACK TO s');
  await ask(client, 'COMMIT');
  await ask(client, 'SELECT count(*) FROM entry WHERE account = 3');
  await Promise.all(Array.from({ length: 12 }, (_, i) => ask(client, 'SELECT $1::int AS i', [i])));
  await ask(client, 'COMMIT');
  console.log(JSON.stringify(notices));
  await ask(client, 'LISTEN chan');
  await ask(client, "NOTIFY chan, 'loud'");
  for (let i = 0; i < 50 && !heard.length; i++) await new Promise((done) => setTimeout(done, 50));
  console.log(JSON.stringify(heard));
  const pid = client.processID;
  console.log(pid !== 0);
  const canceller = new Client();
  setTimeout(() => canceller.cancel(client, client.activeQuery), 300);
  await ask(client, 'SELECT pg_sleep(20)');
  await ask(client, "SELECT 'after' AS x");
  await client.end();
  const pool = new Pool({ max: 5 });
  const all = await Promise.all(Array.from({ length: 200 }, (_, i) => pool.query('SELECT $1::int AS i', [i])));
  console.log('pool, wrong answers:', all.filter((r, i) => r.rows[0].i !== i).length);
  await pool.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
