// node-etcd's interface against the server at argv[2]. Prints a line of JSON for each check. Run by session_test.py.
'use strict';

const assert = require('assert');
const Etcd = require('node-etcd');

const url = process.argv[2];
const etcd = new Etcd([url]);

// Calls a method and gives what its callback got.
function call(name, ...args) {
  return new Promise((resolve) => {
    etcd[name](...args, (error, body, headers) => resolve({ error, body, headers }));
  });
}

async function good(name, ...args) {
  const { error, body } = await call(name, ...args);
  assert.ifError(error);
  return body;
}

async function bad(code, name, ...args) {
  const { error } = await call(name, ...args);
  assert.strictEqual(error && error.errorCode, code);
  return error;
}

function next(emitter, event) {
  return new Promise((resolve) => emitter.once(event, resolve));
}

const checks = {
  async 'set, get, delete'() {
    const made = await good('set', 'key', 'value & é');
    assert.strictEqual(made.action, 'set');
    const { body, headers } = await call('get', 'key');
    assert.deepStrictEqual(body.node, made.node);
    assert.ok(Number(headers['x-etcd-index']) >= made.node.modifiedIndex);
    assert.strictEqual((await good('del', 'key')).prevNode.value, 'value & é');
    const error = await bad(100, 'get', '/key');
    assert.strictEqual(error.error.cause, '/key');
  },

  async 'conditions'() {
    await good('set', 'cas', 'one');
    assert.strictEqual((await good('compareAndSwap', 'cas', 'two', 'one')).action, 'compareAndSwap');
    await bad(101, 'compareAndSwap', 'cas', 'three', 'one');
    await bad(105, 'set', 'cas', 'x', { prevExist: false });
    await bad(101, 'compareAndDelete', 'cas', 'one');
    assert.strictEqual((await good('compareAndDelete', 'cas', 'two')).action, 'compareAndDelete');
  },

  async 'directories'() {
    assert.strictEqual((await good('mkdir', 'dir')).node.dir, true);
    await good('set', 'dir/a/b', 'x');
    const listed = await good('get', 'dir', { recursive: true, sorted: true });
    assert.strictEqual(listed.node.nodes[0].nodes[0].value, 'x');
    await bad(108, 'rmdir', 'dir');
    assert.strictEqual((await good('rmdir', 'dir', { recursive: true })).action, 'delete');
  },

  async 'in-order keys'() {
    const keys = [];
    for (const value of ['a', 'b', 'c']) keys.push((await good('create', 'queue', value)).node.key);
    const listed = await good('get', 'queue', { sorted: true });
    assert.deepStrictEqual(listed.node.nodes.map((node) => node.key), keys);
  },

  async 'time to live'() {
    assert.strictEqual((await good('set', 'ttl', 'x', { ttl: 100 })).node.ttl, 100);
    const made = await good('set', 'ttl', 'x', { ttl: 1 });
    const event = await good('watchIndex', 'ttl', made.node.modifiedIndex + 1);
    assert.strictEqual(event.action, 'expire');
  },

  async 'watch'() {
    const made = await good('set', 'watched', '1');
    assert.deepStrictEqual(await good('watchIndex', 'watched', made.node.modifiedIndex), made);
    const waiting = good('watch', 'watched', { recursive: true });
    while ((await good('raw', 'GET', 'v2/stats/store', null, {})).watchers === 0);
    const changed = await good('set', 'watched', '2');
    assert.deepStrictEqual(await waiting, changed);
  },

  async 'watcher'() {
    const made = await good('set', 'w/0', '0');
    const watcher = etcd.watcher('w', made.node.modifiedIndex, { recursive: true });
    const seen = [];
    watcher.on('change', (event) => seen.push(`${event.action} ${event.node.key}`));
    const gone = next(watcher, 'delete');
    await good('set', 'w/1', '1');
    await good('set', 'w/1', '2');
    await good('del', 'w/0');
    await gone;
    watcher.stop();
    assert.deepStrictEqual(seen, ['set /w/0', 'set /w/1', 'set /w/1', 'delete /w/0']);
  },

  async 'synchronous calls'() {
    assert.strictEqual(etcd.setSync('sync', 'x').body.action, 'set');
    assert.strictEqual(etcd.getSync('sync').body.node.value, 'x');
    assert.strictEqual(etcd.mkdirSync('syncdir').body.node.dir, true);
    assert.strictEqual(etcd.rmdirSync('syncdir').err, null);
    assert.strictEqual(etcd.delSync('sync').body.action, 'delete');
    assert.strictEqual(etcd.getSync('sync').err.errorCode, 100);
  },

  async 'the cluster'() {
    assert.strictEqual((await good('selfStats')).state, 'StateLeader');
    assert.deepStrictEqual((await good('leaderStats')).followers, {});
    assert.strictEqual((await good('machines')).node.nodes.length, 1);
    assert.ok(String(await good('leader')).startsWith('http://'));
    assert.ok(await good('version'));
  },
};

function late() {
  return new Promise((_, reject) => setTimeout(() => reject(new Error('not done after 10 s')), 10000).unref());
}

(async () => {
  let failed = 0;
  for (const [check, play] of Object.entries(checks)) {
    try {
      await Promise.race([play(), late()]);
      console.log(JSON.stringify({ check, ok: true }));
    } catch (error) {
      failed += 1;
      console.log(JSON.stringify({ check, ok: false, why: String(error.stack).slice(0, 1500) }));
    }
  }
  console.log(JSON.stringify({ check: 'the end', ok: true }));
  process.exit(failed ? 1 : 0);
})();
