// The sidecar from Node (18 or later), with its own fetch.
//
// Usage: node client.mjs [URL [WAIT_SECONDS]]

const [url = "http://localhost:8081", wait = "30"] = process.argv.slice(2);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function ask(method, path, body, headers = {}) {
  const signal = AbortSignal.timeout((Number(wait) + 10) * 1000);
  return fetch(url + path, { method, body, headers, signal });
}

const pathOf = (key) => "/map/" + encodeURIComponent(key);

async function put(key, value, ttl) {
  const answer = await ask("PUT", pathOf(key) + (ttl ? `?ttl=${ttl}` : ""), value);
  const reason = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} ${reason}`);
}

// The value, or null.
async function get(key) {
  const answer = await ask("GET", pathOf(key));
  const text = await answer.text();
  return answer.ok ? text : null;
}

// Whether it was there.
async function del(key) {
  const answer = await ask("DELETE", pathOf(key));
  await answer.text();
  return answer.ok;
}

// Yields the value now and after each change, null while the key is not there.
async function* watch(key) {
  let tag = null;
  let seconds = 0;
  for (;;) {
    const known = tag ? { "If-None-Match": tag } : {};
    let answer, value;
    try {
      answer = await ask("GET", `${pathOf(key)}?wait=${seconds}s`, undefined, known);
      value = await answer.text();
    } catch {
      console.log("no answer, trying again");
      await untilReady();
      continue;
    }
    if (answer.status === 200) {
      tag = answer.headers.get("ETag");
      yield value;
    } else if (answer.status === 404) {
      if (tag || seconds === 0) yield null;
      tag = null;
    } else if (answer.status !== 304) {
      await sleep(1000); // 503: too many wait already, or it has just started
    }
    seconds = wait;
  }
}

// A sidecar has nothing after its start, until it has met another one.
async function untilReady() {
  for (;;) {
    const answer = await ask("GET", "/readyz").catch(() => null);
    await answer?.text().catch(() => null);
    if (answer?.ok) return;
    await sleep(200);
  }
}

await put("demo/node", "blue");
console.log("demo/node =", await get("demo/node"));
await put("demo/node", "red", "60s");
console.log("demo/node =", await get("demo/node"));
await del("demo/node");
console.log("demo/node =", await get("demo/node"));

for await (const flag of watch("flag")) {
  console.log("flag =", flag);
  if (flag === "end") break;
}
