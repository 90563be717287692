// The page of a circuit in a cell of a notebook: what anywidget runs there. The page stands in a
// frame that shares nothing with the notebook but one port, through which texts of states pass.

function render({ model, el }) {
  const frame = document.createElement("iframe");
  let port = null;
  // The last state that the page sent or was sent: it is never told what it said itself.
  let told = null;
  // Counts what it was sent: what it says before it has heard the latest is out of date.
  let turn = 0;

  const tell = () => {
    const state = model.get("state");
    if (!port || state === told) return;
    told = state;
    turn += 1;
    port.postMessage({ state, turn });
  };
  const hear = ({ data }) => {
    if (data.turn !== turn) return;
    told = data.state;
    model.set("state", data.state);
    model.save_changes();
  };
  // Notebooks move cells about; a frame that was moved begins anew.
  const connect = () => {
    port?.close();
    const channel = new MessageChannel();
    port = channel.port1;
    port.onmessage = hear;
    told = null;
    // The frame has no origin of its own that could be named.
    frame.contentWindow.postMessage("wirework", "*", [channel.port2]);
    tell();
  };
  const resize = () => frame.style.setProperty("height", `${model.get("height")}px`);

  frame.addEventListener("load", connect);
  frame.title = "circuit";
  frame.setAttribute("sandbox", "allow-scripts allow-downloads allow-modals");
  frame.style.cssText = "display: block; width: 100%; border: 0;";
  frame.srcdoc = model.get("_page");
  resize();
  model.on("change:state", tell);
  model.on("change:height", resize);
  el.append(frame);
  return () => {
    model.off("change:state", tell);
    model.off("change:height", resize);
    port?.close();
  };
}

export default { render };
