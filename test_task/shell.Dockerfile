# A static busybox with a link for each of its programs, so that commands can be given as one string to /bin/sh,
# and the test task beside them.
FROM scratch
COPY rootfs/ /
ENV PATH=/bin
CMD ["/bin/sh", "-c", "echo a shell"]
