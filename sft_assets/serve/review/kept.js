// What outlives the browser: decisions that the server has not confirmed ("unsent"), and what is half-typed ("draft"), for each
// queue, reviewer and item; and who reviewed here last ("name"). In IndexedDB, which has them on the disk when it says so: what
// localStorage is told it writes seconds later.

const memory = new Map(); // where the browser keeps nothing (a private window)
let opened = null;

function database() {
  opened ??= new Promise((done) => {
    try {
      const request = indexedDB.open("sft-review", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("kept", { keyPath: "key" });
      request.onsuccess = () => done(request.result);
      request.onerror = () => done(null);
    } catch {
      done(null);
    }
  });
  return opened;
}

async function run(mode, work) {
  const base = await database();
  if (!base) return undefined;
  return new Promise((done, failed) => {
    const transaction = base.transaction("kept", mode, { durability: "strict" });
    const request = work(transaction.objectStore("kept"));
    transaction.oncomplete = () => done(request.result);
    transaction.onabort = () => failed(transaction.error);
  });
}

const keyOf = (kind, { queue = "", reviewer = "", number = 0 }) => [kind, queue, reviewer, number];

export async function put(kind, record) {
  const key = keyOf(kind, record);
  memory.set(JSON.stringify(key), record);
  await run("readwrite", (store) => store.put({ key, record })).catch(() => {});
}

export async function get(kind, place) {
  const key = keyOf(kind, place);
  const found = await run("readonly", (store) => store.get(key)).catch(() => undefined);
  return found?.record ?? memory.get(JSON.stringify(key));
}

export async function remove(kind, place) {
  const key = keyOf(kind, place);
  memory.delete(JSON.stringify(key));
  await run("readwrite", (store) => store.delete(key)).catch(() => {});
}

export async function all(kind) {
  const found = await run("readonly", (store) => store.getAll()).catch(() => undefined);
  const there = found ? found.map(({ key, record }) => [key[0], record])
    : [...memory].map(([key, record]) => [JSON.parse(key)[0], record]);
  return there.filter(([of]) => of === kind).map(([, record]) => record);
}
