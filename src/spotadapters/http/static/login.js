"use strict";

const part = (id) => document.getElementById(id);
const say = (text) => { part("problem").textContent = text; };

async function ask(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { "Content-Type": "application/json", "X-Response-Shape": "envelope" },
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  });
  return await answer.json();
}

function show(session) {
  part("sign-in").hidden = session !== null;
  part("signed-in").hidden = session === null;
  if (session !== null) {
    part("who").textContent = session.role === "admin" ? "the operator" : "client " + session.client_id;
  }
}

part("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  say("");
  try {
    const answer = await ask("POST", "/api/auth/login", { token: part("token").value.trim() });
    if (answer.data) {
      window.location.assign("/");
    } else {
      say(answer.error);
    }
  } catch {
    say("The server cannot be reached. Please try again.");
  }
});

part("sign-out").addEventListener("click", async () => {
  try {
    await ask("POST", "/api/auth/logout");
    show(null);
    say("Signed out.");
  } catch {
    say("The server cannot be reached. Please try again.");
  }
});

ask("GET", "/api/auth/session").then((answer) => show(answer.data || null)).catch(() => show(null));
