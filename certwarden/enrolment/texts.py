"""All words of the page, in English and in German.

A `*word*` is one that stands on the screen of the device just so; `{authority}` is the CA's name.
"""

from collections.abc import Mapping
from enum import StrEnum


class Problem(StrEnum):
    """Why a request did not bring what was wanted, as far as that is the visitor's business."""

    INVITATION = "invitation"
    BUSY = "busy"
    LOCKED = "locked"
    CLOCK = "clock"
    MALFORMED = "malformed"
    INTERNAL = "internal"
    NOT_FOUND = "not-found"
    TOO_MANY = "too-many"


_ENGLISH = {
    "other-language": "Deutsch",
    "title": "A key for this device",
    "lead": "Some pages at home stay closed to strangers. This key lets this device in: a "
    "certificate from “{authority}”.",
    "label.device": "This device is",
    "label.form": "File for",
    "get": "Get the certificate",
    "got": "Fetched: works only once",
    "once": "It can be fetched only once. Do it on the device that it is for.",
    "incomplete": "This link is incomplete. Scan the QR code again, or open the whole link.",
    "noscript": "This page needs JavaScript: it makes the password on this device.",
    "other-browser.iphone": "Please open this page in *Safari*. No other browser can install the "
    "key on an iPhone.",
    "other-browser.ipad": "Please open this page in *Safari*. No other browser can install the "
    "key on an iPad.",
    "other-browser.android": "Please open this page in *Chrome*. The app that it is open in may "
    "lose the file.",
    "copy-link": "Copy the link",
    "copy": "Copy",
    "copied": "Copied",
    "not-copied": "This browser does not copy. Select the text and copy it by hand.",
    "password": "Your password",
    "password-note": "The device asks for it in a moment. It is shown only here, so leave this "
    "page open until all is done.",
    "steps": "What to do now",
    "trouble": "It did not work?",
    "trouble.once": "A certificate can be fetched only once, even if the file went astray. Ask "
    "whoever invited you for another invitation. The lost certificate is made worthless then.",
    "trouble.older": "If the device calls the password wrong although it is right, it needs the "
    "file for older versions. That takes another invitation, too.",
    # ── devices and files ─────────────────────────────────────────────────────────────────────────
    "device.iphone": "iPhone",
    "device.ipad": "iPad",
    "device.android": "Android phone or tablet",
    "device.mac": "Mac",
    "device.windows": "Windows PC",
    "device.chromeos": "Chromebook",
    "device.linux": "Linux PC",
    "device.firefox": "Firefox on a computer",
    "form.iphone.mobileconfig": "iPhone (profile)",
    "form.iphone.p12-legacy": "an app that imports certificates by itself (.p12)",
    "form.iphone.p12": "such an app, since iOS 18 (.p12)",
    "form.ipad.mobileconfig": "iPad (profile)",
    "form.ipad.p12-legacy": "an app that imports certificates by itself (.p12)",
    "form.ipad.p12": "such an app, since iPadOS 18 (.p12)",
    "form.android.p12": "Android 14 or newer",
    "form.android.p12-legacy": "Android 13 or older",
    "form.mac.mobileconfig": "every macOS (profile)",
    "form.mac.p12": "macOS 15 or newer (.p12)",
    "form.mac.p12-legacy": "macOS 14 or older (.p12)",
    "form.windows.p12": "Windows 10 and 11 (.p12)",
    "form.chromeos.p12": "ChromeOS (.p12)",
    "form.linux.p12": "Chrome and Chromium (.p12)",
    "form.linux.pem": "curl and other programs (.pem)",
    "form.firefox.p12": "Firefox (.p12)",
    # ── steps ─────────────────────────────────────────────────────────────────────────────────────
    "step.save": "Let the browser keep the file. It lies among the *Downloads*.",
    "step.password": "Type the password from above.",
    "step.finish": "Open the page at home. The browser asks which certificate to show.",
    "step.apple.allow": "Safari asks whether to load a profile: tap *Allow*.",
    "step.apple.settings": "Open *Settings* and tap *Profile Downloaded* near the top. Do so soon: "
    "the profile is dropped again after 8 minutes.",
    "step.apple.install": "Tap *Install* and type the code of the device. It calls the profile "
    "*Not Signed*: that is as it should be.",
    "step.apple.finish": "Open the page at home in *Safari*. Other browsers cannot use the key.",
    "step.apple.file": "Safari asks whether to load the file: tap *Download*. It lies in the app "
    "*Files*; do not open it there.",
    "step.apple.import": "Open the app that the certificate is for. Choose there to import a "
    "client certificate, and the file.",
    "step.apple.app": "Open the page at home in that app. Safari knows nothing of the certificate.",
    "step.mac.profile": "Open the file from the *Downloads*. The Mac says that a profile was "
    "added.",
    "step.mac.settings": "Open *System Settings* > *General* > *Device Management*, or *Privacy & "
    "Security* > *Profiles*. Double-click the profile, then *Install*.",
    "step.mac.file": "Open the file from the *Downloads*. *Keychain Access* appears.",
    "step.mac.keychain": "Choose the keychain *login* and type the password from above.",
    "step.mac.finish": "Open the page at home in Safari or Chrome, choose the certificate, and "
    "allow its use. Firefox needs a file of its own.",
    "step.android.settings": "The device needs a screen lock. Search its *Settings* for "
    "*certificate*; often it is under *Security* > *Encryption & credentials*.",
    "step.android.install": "Tap *Install a certificate* > *VPN & app user certificate* and choose "
    "the file. Do not take *CA certificate*.",
    "step.android.finish": "Open the page at home in *Chrome*: it asks which certificate to show. "
    "Firefox for Android may not see it.",
    "step.windows.open": "Open the file from the *Downloads*. The *Certificate Import Wizard* "
    "appears.",
    "step.windows.user": "Choose *Current User* and keep the file that is proposed.",
    "step.windows.store": "Leave the choice of the certificate store to Windows: *Next*, *Finish*.",
    "step.windows.finish": "Start Chrome or Edge anew and open the page at home. It asks which "
    "certificate to show.",
    "step.chrome.manager": "Type *chrome://certificate-manager* in the address bar and open *Your "
    "certificates*.",
    "step.chromeos.import": "Choose *Import* and the file.",
    "step.linux.import": "Choose *Import* and the file.",
    "step.firefox.settings": "Open *Settings* > *Privacy & Security* > *View Certificates* > *Your "
    "Certificates*.",
    "step.firefox.import": "Choose *Import* and the file.",
    "step.pem.save": "Keep the file where only you can read it. It holds the certificate and the "
    "encrypted key.",
    "step.pem.use": "Name it to the program: *curl --cert FILE https://…* It asks for the password "
    "from above.",
    # ── problems ──────────────────────────────────────────────────────────────────────────────────
    "problem.invitation": "This invitation is not valid",
    "hint.invitation": "It was used already, has ended, or its link is incomplete. Ask whoever "
    "invited you for another one.",
    "problem.busy": "Something else is being done just now",
    "hint.busy": "Wait a minute, go back, and try again. The invitation is still good.",
    "problem.locked": "The key of the certificate authority is locked",
    "hint.locked": "Ask whoever invited you to unlock it, go back, and try again. The invitation "
    "is still good.",
    "problem.clock": "The clock of the server is not set yet",
    "hint.clock": "Wait a few minutes, go back, and try again. The invitation is still good.",
    "problem.malformed": "That could not be understood",
    "hint.malformed": "Scan the QR code again, or open the whole link.",
    "problem.internal": "Something went wrong on the server",
    "hint.internal": "Go back and try again. If it stays like this, tell whoever invited you: the "
    "log says more.",
    "problem.not-found": "There is nothing here",
    "hint.not-found": "Scan the QR code again, or open the whole link.",
    "problem.too-many": "Too many are asking at once",
    "hint.too-many": "Wait a minute, go back, and try again.",
}

_GERMAN = {
    "other-language": "English",
    "title": "Ein Schlüssel für dieses Gerät",
    "lead": "Manche Seiten zu Hause bleiben Fremden verschlossen. Dieser Schlüssel lässt dieses "
    "Gerät hinein: ein Zertifikat von „{authority}“.",
    "label.device": "Dieses Gerät ist",
    "label.form": "Datei für",
    "get": "Zertifikat abholen",
    "got": "Abgeholt: geht nur einmal",
    "once": "Abholen lässt es sich nur einmal, und zwar auf dem Gerät, für das es bestimmt ist.",
    "incomplete": "Dieser Link ist unvollständig. Bitte den QR-Code noch einmal scannen oder den "
    "ganzen Link öffnen.",
    "noscript": "Diese Seite braucht JavaScript: Damit entsteht das Passwort auf diesem Gerät.",
    "other-browser.iphone": "Bitte diese Seite in *Safari* öffnen. Kein anderer Browser kann den "
    "Schlüssel auf einem iPhone installieren.",
    "other-browser.ipad": "Bitte diese Seite in *Safari* öffnen. Kein anderer Browser kann den "
    "Schlüssel auf einem iPad installieren.",
    "other-browser.android": "Bitte diese Seite in *Chrome* öffnen. In der App, die sie jetzt "
    "zeigt, kann die Datei verloren gehen.",
    "copy-link": "Link kopieren",
    "copy": "Kopieren",
    "copied": "Kopiert",
    "not-copied": "Dieser Browser kopiert nicht. Bitte den Text markieren und von Hand kopieren.",
    "password": "Das Passwort",
    "password-note": "Gleich fragt das Gerät danach. Es steht nur hier, also diese Seite offen "
    "lassen, bis alles erledigt ist.",
    "steps": "So geht es weiter",
    "trouble": "Es hat nicht geklappt?",
    "trouble.once": "Ein Zertifikat lässt sich nur einmal abholen, auch wenn die Datei verloren "
    "ging. Dann hilft eine neue Einladung von der Person, von der diese kam. Das verlorene "
    "Zertifikat wird dabei wertlos.",
    "trouble.older": "Nennt das Gerät das Passwort falsch, obwohl es stimmt, braucht es die Datei "
    "für ältere Versionen. Auch dafür ist eine neue Einladung nötig.",
    # ── devices and files ─────────────────────────────────────────────────────────────────────────
    "device.iphone": "iPhone",
    "device.ipad": "iPad",
    "device.android": "Android-Handy oder -Tablet",
    "device.mac": "Mac",
    "device.windows": "Windows-PC",
    "device.chromeos": "Chromebook",
    "device.linux": "Linux-PC",
    "device.firefox": "Firefox auf einem Computer",
    "form.iphone.mobileconfig": "iPhone (Profil)",
    "form.iphone.p12-legacy": "eine App, die Zertifikate selbst importiert (.p12)",
    "form.iphone.p12": "eine solche App ab iOS 18 (.p12)",
    "form.ipad.mobileconfig": "iPad (Profil)",
    "form.ipad.p12-legacy": "eine App, die Zertifikate selbst importiert (.p12)",
    "form.ipad.p12": "eine solche App ab iPadOS 18 (.p12)",
    "form.android.p12": "Android 14 oder neuer",
    "form.android.p12-legacy": "Android 13 oder älter",
    "form.mac.mobileconfig": "jedes macOS (Profil)",
    "form.mac.p12": "macOS 15 oder neuer (.p12)",
    "form.mac.p12-legacy": "macOS 14 oder älter (.p12)",
    "form.windows.p12": "Windows 10 und 11 (.p12)",
    "form.chromeos.p12": "ChromeOS (.p12)",
    "form.linux.p12": "Chrome und Chromium (.p12)",
    "form.linux.pem": "curl und andere Programme (.pem)",
    "form.firefox.p12": "Firefox (.p12)",
    # ── steps ─────────────────────────────────────────────────────────────────────────────────────
    "step.save": "Den Browser die Datei speichern lassen. Sie liegt dann bei den *Downloads*.",
    "step.password": "Das Passwort von oben eingeben.",
    "step.finish": "Die Seite zu Hause öffnen. Der Browser fragt, welches Zertifikat er zeigen "
    "soll.",
    "step.apple.allow": "Safari fragt, ob ein Profil geladen werden darf: *Zulassen* antippen.",
    "step.apple.settings": "*Einstellungen* öffnen und weit oben *Profil geladen* antippen. Am "
    "besten gleich: Nach 8 Minuten wird das Profil wieder verworfen.",
    "step.apple.install": "*Installieren* antippen und den Code des Geräts eingeben. Das Profil "
    "gilt als *Nicht signiert*: Das ist hier richtig so.",
    "step.apple.finish": "Die Seite zu Hause in *Safari* öffnen. Andere Browser können den "
    "Schlüssel nicht verwenden.",
    "step.apple.file": "Safari fragt, ob die Datei geladen werden soll: *Laden* antippen. Sie "
    "liegt in der App *Dateien*, bitte dort nicht öffnen.",
    "step.apple.import": "Die App öffnen, für die das Zertifikat ist. Dort ein Client-Zertifikat "
    "importieren und die Datei wählen.",
    "step.apple.app": "Die Seite zu Hause in dieser App öffnen. Safari weiß von dem Zertifikat "
    "nichts.",
    "step.mac.profile": "Die Datei bei den *Downloads* öffnen. Der Mac meldet, dass ein Profil "
    "hinzugekommen ist.",
    "step.mac.settings": "*Systemeinstellungen* > *Allgemein* > *Geräteverwaltung* öffnen, oder "
    "*Datenschutz & Sicherheit* > *Profile*. Das Profil doppelklicken, dann *Installieren*.",
    "step.mac.file": "Die Datei bei den *Downloads* öffnen. Die *Schlüsselbundverwaltung* "
    "erscheint.",
    "step.mac.keychain": "Den Schlüsselbund *Anmeldung* wählen und das Passwort von oben eingeben.",
    "step.mac.finish": "Die Seite zu Hause in Safari oder Chrome öffnen, das Zertifikat wählen und "
    "seine Verwendung erlauben. Firefox braucht eine eigene Datei.",
    "step.android.settings": "Das Gerät braucht eine Displaysperre. In den *Einstellungen* nach "
    "*Zertifikat* suchen; oft steht es unter *Sicherheit* > *Verschlüsselung und Anmeldedaten*.",
    "step.android.install": "*Zertifikat installieren* > *VPN- & App-Nutzerzertifikat* antippen "
    "und die Datei wählen. Nicht *CA-Zertifikat* nehmen.",
    "step.android.finish": "Die Seite zu Hause in *Chrome* öffnen: Chrome fragt, welches "
    "Zertifikat gezeigt werden soll. Firefox für Android sieht es womöglich nicht.",
    "step.windows.open": "Die Datei bei den *Downloads* öffnen. Der *Zertifikatimport-Assistent* "
    "erscheint.",
    "step.windows.user": "*Aktueller Benutzer* wählen und die vorgeschlagene Datei beibehalten.",
    "step.windows.store": "Die Wahl des Zertifikatspeichers Windows überlassen: *Weiter*, *Fertig "
    "stellen*.",
    "step.windows.finish": "Chrome oder Edge neu starten und die Seite zu Hause öffnen. Der "
    "Browser fragt, welches Zertifikat er zeigen soll.",
    "step.chrome.manager": "*chrome://certificate-manager* in die Adresszeile eingeben und die "
    "eigenen Zertifikate öffnen.",
    "step.chromeos.import": "*Importieren* und die Datei wählen.",
    "step.linux.import": "*Importieren* und die Datei wählen.",
    "step.firefox.settings": "*Einstellungen* > *Datenschutz & Sicherheit* > *Zertifikate "
    "anzeigen* > *Ihre Zertifikate* öffnen.",
    "step.firefox.import": "*Importieren* und die Datei wählen.",
    "step.pem.save": "Die Datei dort aufbewahren, wo niemand sonst sie lesen kann. Sie enthält das "
    "Zertifikat und den verschlüsselten Schlüssel.",
    "step.pem.use": "Sie dem Programm nennen: *curl --cert DATEI https://…* Es fragt nach dem "
    "Passwort von oben.",
    # ── problems ──────────────────────────────────────────────────────────────────────────────────
    "problem.invitation": "Diese Einladung ist nicht gültig",
    "hint.invitation": "Sie wurde schon benutzt, ist abgelaufen, oder ihr Link ist unvollständig. "
    "Dann hilft eine neue von der Person, von der diese kam.",
    "problem.busy": "Im Moment ist noch etwas anderes im Gange",
    "hint.busy": "Bitte eine Minute warten, zurückgehen und es noch einmal versuchen. Die "
    "Einladung gilt weiterhin.",
    "problem.locked": "Der Schlüssel der Zertifizierungsstelle ist gesperrt",
    "hint.locked": "Die Person, von der die Einladung kam, kann ihn entsperren. Danach bitte "
    "zurückgehen und es noch einmal versuchen. Die Einladung gilt weiterhin.",
    "problem.clock": "Die Uhr des Servers ist noch nicht gestellt",
    "hint.clock": "Bitte einige Minuten warten, zurückgehen und es noch einmal versuchen. Die "
    "Einladung gilt weiterhin.",
    "problem.malformed": "Das war nicht zu verstehen",
    "hint.malformed": "Bitte den QR-Code noch einmal scannen oder den ganzen Link öffnen.",
    "problem.internal": "Auf dem Server ist etwas schiefgegangen",
    "hint.internal": "Bitte zurückgehen und es noch einmal versuchen. Bleibt es dabei, hilft die "
    "Person weiter, von der die Einladung kam: Im Protokoll steht mehr.",
    "problem.not-found": "Hier ist nichts",
    "hint.not-found": "Bitte den QR-Code noch einmal scannen oder den ganzen Link öffnen.",
    "problem.too-many": "Zu viele fragen gleichzeitig",
    "hint.too-many": "Bitte eine Minute warten, zurückgehen und es noch einmal versuchen.",
}

TEXTS: Mapping[str, Mapping[str, str]] = {"en": _ENGLISH, "de": _GERMAN}
