// Keeps the page as it is now, copies what is to be copied, and sends its forms without leaving it.
"use strict";

const PAUSE = 1500; // milliseconds between two looks
const said = document.getElementById("said");
const gone = document.getElementById("gone");
let announced = texts();

function texts() {
  return [...document.querySelectorAll("[data-announce]")].map((one) => one.dataset.announce).join(". ");
}

function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const isToday = moment.toDateString() === new Date().toDateString();
    time.textContent = isToday ? moment.toLocaleTimeString() : moment.toLocaleString();
  }
}

function replace(part, html) {
  if (part.shown === html) {
    return;
  }
  part.shown = html;
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const scrolled = part.querySelector(".scroll")?.scrollTop ?? 0;
  part.innerHTML = html; // from this origin, every value escaped there
  localize(part);
  const scroll = part.querySelector(".scroll");
  if (scroll) {
    scroll.scrollTop = scrolled;
  }
  if (focused) {
    const key = focused.dataset.focus;
    const next = (key && part.querySelector(`[data-focus="${key}"]`)) || part.querySelector("button, a, .scroll");
    next?.focus();
  }
}

async function look() {
  try {
    const answer = await fetch("/parts", { headers: { Accept: "application/json" } });
    if (!answer.ok) {
      throw new Error(String(answer.status));
    }
    const { title, parts } = await answer.json();
    document.title = title;
    for (const part of document.querySelectorAll("[data-part]")) {
      if (part.dataset.part in parts) {
        replace(part, parts[part.dataset.part]);
      }
    }
    gone.hidden = true;
    const now = texts();
    if (now !== announced) {
      said.textContent = announced = now;
    }
  } catch {
    if (gone.hidden) {
      gone.hidden = false;
      said.textContent = gone.textContent;
    }
  }
}

async function keepLooking() {
  if (!document.hidden) {
    await look();
  }
  setTimeout(keepLooking, PAUSE);
}

async function send(form, button) {
  if (form.dataset.busy) {
    return;
  }
  form.dataset.busy = "yes"; // the button stays enabled, since a disabled one loses the focus
  const values = Object.fromEntries(new FormData(form, button));
  // A window opens only while the click is still at work; it is led on when the address is known.
  const tab = values.method === "interactive" ? window.open("about:blank", "_blank") : null;
  if (tab) {
    tab.opener = null;
  }
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": values.csrf_token },
      body: JSON.stringify({ method: values.method, other_account: values.other_account }),
    });
    const state = await answer.json();
    const invitation = state.invitation;
    if (tab && invitation && invitation.method === "interactive") {
      tab.location.replace(invitation.address);
    } else {
      tab?.close();
    }
  } catch {
    tab?.close();
  } finally {
    delete form.dataset.busy;
  }
  await look();
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  void send(event.target, event.submitter);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) {
    return;
  }
  const words = document.getElementById(button.dataset.copy).textContent;
  navigator.clipboard.writeText(words).then(() => {
    said.textContent = "Copied";
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  });
});

for (const part of document.querySelectorAll("[data-part]")) {
  part.shown = "";
}
localize(document);
setTimeout(keepLooking, PAUSE);
