// What a person is asked: a token, whether they are sure, how long an alert shall be quiet and why.

import { byId, make } from "./dom.js";
import { plain } from "./text.js";

let queue = Promise.resolve();

// Opens a dialog; what `read` makes of its form when it is sent, null when it is closed. One at a time.
function asked(dialog, form, prepare, read) {
  const turn = queue.then(
    () =>
      new Promise((resolve) => {
        const before = document.activeElement;
        let answer = null;
        prepare();
        const send = (event) => {
          event.preventDefault();
          answer = read();
          if (answer !== null) dialog.close();
        };
        const cancel = () => dialog.close();
        form.addEventListener("submit", send);
        form.querySelector("[data-close]").addEventListener("click", cancel);
        dialog.addEventListener(
          "close",
          () => {
            form.removeEventListener("submit", send);
            form.querySelector("[data-close]").removeEventListener("click", cancel);
            form.reset();
            if (before?.isConnected) before.focus({ preventScroll: true });
            resolve(answer);
          },
          { once: true },
        );
        dialog.showModal();
      }),
  );
  queue = turn.catch(() => {});
  return turn;
}

export function askToken(kind, why) {
  const input = byId("token");
  const wrong = byId("token-wrong");
  return asked(
    byId("token-dialog"),
    byId("token-form"),
    () => {
      byId("token-title").textContent = kind === "write" ? "Write token" : "Read token";
      byId("token-why").textContent = plain(why);
      wrong.textContent = "";
    },
    () => {
      const token = input.value.trim();
      // Another sign could not stand in a header.
      if (/^[\x21-\x7e]+$/.test(token)) return token;
      wrong.textContent = "A token has no blanks and only plain signs.";
      return null;
    },
  );
}

export function askSure(title, what, yes) {
  return asked(
    byId("sure-dialog"),
    byId("sure-form"),
    () => {
      byId("sure-title").textContent = plain(title);
      byId("sure-what").textContent = plain(what, 600);
      byId("sure-yes").textContent = yes;
    },
    () => true,
  );
}

// `scopes`: what could be suppressed, as `{label, rule, environment, queue}`.
export function askSuppression(what, scopes) {
  const reason = byId("suppress-reason");
  return asked(
    byId("suppress-dialog"),
    byId("suppress-form"),
    () => {
      byId("suppress-what").textContent = plain(what);
      byId("suppress-scope").replaceChildren(
        ...scopes.map(({ label }, place) => make("option", { value: place, text: label })),
      );
    },
    () => {
      if (reason.value.trim() === "") {
        reason.value = "";
        reason.reportValidity();
        return null;
      }
      const { rule, environment, queue: named } = scopes[Number(byId("suppress-scope").value)];
      return {
        rule,
        environment,
        queue: named,
        for: byId("suppress-for").value,
        reason: reason.value.trim(),
      };
    },
  );
}
