// The page in a notebook: every state goes to the widget around it, and comes from there.

export function joinNotebook(link) {
  // There is no address that could be copied.
  link.box.querySelector("button").remove();
  let port = null;
  // The last state that was sent or heard: an answer to it would undo what came after it.
  let told = null;
  let turn = 0;
  link.onWrite((text) => {
    if (!port || text === told) return;
    told = text;
    port.postMessage({ state: text, turn });
  });
  window.addEventListener("message", (event) => {
    if (event.source !== window.parent || event.ports.length !== 1) return;
    [port] = event.ports;
    port.onmessage = ({ data }) => {
      told = data.state;
      turn = data.turn;
      link.open(told);
    };
  });
}
