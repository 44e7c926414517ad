//! Wakes those who wait for events, over one connection that listens for all of them.

use std::{fmt, sync::OnceLock, time::Duration};

use nightshift_store::{CHANNEL_EVENTS, Store, StoreError};
use tokio::sync::watch;

/// How long a broken listener waits before it tries again.
const PAUSE: Duration = Duration::from_secs(1);

/// Tells when there may be new events. Begins to listen when somebody first waits.
pub struct Feed {
    store: Store,
    news: OnceLock<watch::Receiver<u64>>,
}

/// Waits for news. News that came after this was made is never missed.
pub(crate) struct Waiting(watch::Receiver<u64>);

impl Feed {
    /// Listens to the events of one database.
    #[must_use]
    pub const fn over(store: Store) -> Self {
        Self {
            store,
            news: OnceLock::new(),
        }
    }

    /// Begins to wait. Look for events after this and before [`Waiting::for_news`].
    pub(crate) fn wait(&self) -> Waiting {
        let news = self.news.get_or_init(|| {
            let (sender, receiver) = watch::channel(0);
            tokio::spawn(listen(self.store.clone(), sender));
            receiver
        });
        let mut waiting = news.clone();
        waiting.mark_unchanged();
        Waiting(waiting)
    }
}

impl Waiting {
    /// Returns when there may be something new. Without a listener it never does; give it a limit.
    pub(crate) async fn for_news(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// Passes signals on until nobody can wait any more.
async fn listen(store: Store, news: watch::Sender<u64>) {
    loop {
        tokio::select! {
            () = news.closed() => return,
            Err(error) = pass_on(&store, &news) => {
                let error = nightshift_engine::causes(&error);
                tracing::warn!(error, "Lost the connection that listens for events");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn pass_on(
    store: &Store,
    news: &watch::Sender<u64>,
) -> Result<std::convert::Infallible, StoreError> {
    let mut listener = store.signals().listen(CHANNEL_EVENTS).await?;
    loop {
        // Also once in the beginning: something may have happened while nobody listened.
        news.send_modify(|count| *count += 1);
        listener.wait().await?;
    }
}
