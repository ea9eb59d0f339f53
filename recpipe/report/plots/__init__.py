"""The plots of the page. Nothing but this package imports matplotlib, and only when it draws."""
