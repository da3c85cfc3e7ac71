"""Mail: put into the caller's transaction by `Mails`, delivered by `Delivery` in whichever process does the jobs."""

from server.integrations.mail.delivery import Delivery
from server.integrations.mail.message import BadAddress, Sender
from server.integrations.mail.queue import Mails
from server.integrations.mail.smtp import Log, MailServer, SmtpServer
from server.integrations.mail.templates import Templates

__all__ = ["BadAddress", "Delivery", "Log", "MailServer", "Mails", "Sender", "SmtpServer", "Templates"]
