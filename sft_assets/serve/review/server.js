// Requests to this server: sent again until they are answered, and what is said meanwhile.

import { $ } from "./page.js";

const PATIENCE = 20000; // milliseconds for an answer
const RETRY = [500, 1000, 2000, 3000]; // milliseconds until a request is sent again

let tryNow = () => {};

export class Refusal extends Error {} // what sending it again does not change

export async function once(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      ...(body && { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
      signal: AbortSignal.timeout(PATIENCE), cache: "no-store",
    });
  } catch {
    throw new Error("The server does not answer");
  }
  const text = await answer.text().catch(() => "");
  let found = null;
  try {
    found = JSON.parse(text);
  } catch { /* not one of our answers */ }
  if (answer.ok && found) return found;
  const sentence = found?.error ?? (text.trim().slice(0, 300) || `The server answers ${answer.status}`);
  if ([400, 404, 405, 413, 415].includes(answer.status)) throw new Refusal(sentence);
  throw new Error(sentence);
}

// Until it is answered. `while_`: what is said meanwhile.
export async function ask(path, body, while_ = "") {
  for (let n = 0; ; n++) {
    try {
      const found = await once(path, body);
      banner("");
      return found;
    } catch (error) {
      if (error instanceof Refusal) {
        banner("");
        throw error;
      }
      banner(`${error.message.replace(/[.\s]*$/, "")}. ${while_} It is tried again until it does.`);
      await new Promise((done) => {
        const timer = setTimeout(done, RETRY[Math.min(n, RETRY.length - 1)]);
        tryNow = () => { clearTimeout(timer); done(); };
      });
    }
  }
}

export function banner(text) {
  $("banner").hidden = !text;
  if ($("banner").firstElementChild.textContent !== text) $("banner").firstElementChild.textContent = text;
}

$("banner").querySelector("button").addEventListener("click", () => tryNow());
addEventListener("online", () => tryNow());
