// What HTML and htmx have no attribute for. Every page works without it, but for what is live.
"use strict";

// A stream that ends with "signed-out", or that the server refuses: the page is loaded again, which asks to sign in.
document.addEventListener("htmx:sseOpen", (event) => {
  event.detail.source.addEventListener("signed-out", () => location.reload());
});
document.addEventListener("htmx:sseError", async (event) => {
  if (event.detail.source.readyState !== EventSource.CLOSED) return;
  const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") location.reload();
});

for (const [name, isLive] of [["htmx:sseOpen", true], ["htmx:sseError", false], ["htmx:sseClose", false]]) {
  document.addEventListener(name, () => {
    for (const mark of document.querySelectorAll(".live")) {
      mark.classList.toggle("off", !isLive);
      mark.textContent = isLive ? "live" : "connecting";
    }
  });
}

// An error of a part takes the place of the part, so that it is seen.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.xhr.status >= 400) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    navigator.clipboard?.writeText(document.getElementById(button.dataset.copy).textContent.trim()).then(() => {
      button.textContent = "Copied";
    });
  }
});

// A checkbox for all others of its form.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-checks]")) {
    for (const box of document.querySelectorAll(`input[name="${event.target.dataset.checks}"]`)) {
      box.checked = event.target.checked;
    }
  }
});

// "/" goes to the search of the page.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});

// The newest rows of a live list stay in view, and the list stays bounded.
document.addEventListener("htmx:sseMessage", (event) => {
  const list = event.target.closest("[data-at-most]");
  while (list && list.children.length > Number(list.dataset.atMost)) list.lastElementChild.remove();
});
