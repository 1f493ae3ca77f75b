{
  let standIns = new Map();
  const bringBack = (text) => {
    const standIn = standIns.get(text);
    standIns.delete(text);
    if (standIn?.isConnected && !text.isConnected) standIn.replaceWith(text);
  };
  const see = (records) => {
    for (const { type, target, removedNodes, addedNodes, previousSibling, nextSibling } of records) {
      if (type === 'characterData') {
        bringBack(target);
        continue;
      }
      const standIn = [...addedNodes, previousSibling, nextSibling].find((node) => node?.nodeName === 'FONT');
      for (const text of standIn ? removedNodes : []) {
        if (text.nodeType !== Node.TEXT_NODE || text.isConnected) continue;
        standIns.set(text, standIn);
        observer.observe(text, { characterData: true });
      }
    }
  };
  const observer = new MutationObserver(see);
  observer.observe(document, { childList: true, subtree: true });
  document.addEventListener('hydrate', () => {
    see(observer.takeRecords());
    for (const text of [...standIns.keys()]) bringBack(text);
    // From here on what is gone from the page may be forgotten.
    standIns = new WeakMap();
  });
}
