"""What browsers say of themselves in User-Agent."""

_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko)"
_IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) {_APPLE}"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"

IPHONE = f"{_IPHONE} Version/18.5 Mobile/15E148 Safari/604.1"
IPHONE_CHROME = f"{_IPHONE} CriOS/137.0.7151.51 Mobile/15E148 Safari/604.1"
IPHONE_FIREFOX = f"{_IPHONE} FxiOS/139.0 Mobile/15E148 Safari/605.1.15"
IPHONE_DUCKDUCKGO = f"{_IPHONE} Version/18.5 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15"
IPHONE_IN_AN_APP = f"{_IPHONE} Mobile/15E148"
OLD_IPAD = (
    f"Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) {_APPLE} "
    "Version/12.1 Mobile/15E148 Safari/604.1"
)
MAC = f"{_MAC} {_APPLE} Version/18.5 Safari/605.1.15"  # and an iPad
MAC_CHROME = f"{_MAC} {_CHROME} Chrome/137.0.0.0 Safari/537.36"
MAC_FIREFOX = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:139.0) Gecko/20100101 Firefox/139.0"
ANDROID = f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME} Chrome/137.0.0.0 Mobile Safari/537.36"
ANDROID_13 = f"Mozilla/5.0 (Linux; Android 13; SM-A515F) {_CHROME} Chrome/109.0.0.0 Safari/537.36"
ANDROID_10 = f"Mozilla/5.0 (Linux; Android 10; SM-G960F) {_CHROME} Chrome/96.0.0.0 Safari/537.36"
ANDROID_FIREFOX = "Mozilla/5.0 (Android 15; Mobile; rv:139.0) Gecko/139.0 Firefox/139.0"
ANDROID_IN_AN_APP = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 7 Build/UQ1A; wv) "
    f"{_CHROME} Version/4.0 Chrome/137.0.0.0 Mobile Safari/537.36"
)
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Chrome/137.0.0.0 Safari/537.36"
WINDOWS_FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:139.0) Gecko/20100101 Firefox/139.0"
CHROMEBOOK = f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_CHROME} Chrome/137.0.0.0 Safari/537.36"
LINUX = f"Mozilla/5.0 (X11; Linux x86_64) {_CHROME} Chrome/137.0.0.0 Safari/537.36"
LINUX_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0"
